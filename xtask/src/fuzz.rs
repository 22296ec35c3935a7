//! `cargo xtask fuzz`: runs libFuzzer on the targets of `fuzz/`, from seeds made of the golden vectors.
//!
//! `cargo xtask test` holds the same checks against the seeds and what follows from them, without libFuzzer.
//!
//! Invariant: a target that ran nothing has failed; so has a run in which an API, version and direction has no seed that
//! decodes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::progress::Step;
use crate::{children, tools, workspace};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// One target of `fuzz/`, all one after the other if not given.
    target: Option<String>,
    /// For all targets together.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// The command.
pub(crate) fn command(Flags { target, seconds }: &Flags) -> Result<()> {
    let all = targets()?;
    let is_known = target.as_ref().is_none_or(|target| all.contains(target));
    let chosen = target.as_deref().unwrap_or_default();
    ensure!(is_known, "the target is one of {}, not {chosen:?}", all.join(", "));
    let targets = target.clone().map_or(all, |target| vec![target]);
    children::succeed(
        &mut cargo_fuzz("build")?,
        "the fuzz targets do not build: they need a C++ compiler, as libFuzzer is built from source",
    )?;
    write_seeds()?;
    let mut failed = Vec::new();
    for target in &targets {
        match fuzz(target, (seconds / targets.len() as u64).max(1)) {
            Ok(row) => say!("{row}"),
            Err(error) => {
                note!("fuzz {target}: {error:#}");
                failed.push(target.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "fuzzing failed: {}", failed.join(", "));
    Ok(())
}

/// The names of the targets, which are those of their files.
fn targets() -> Result<Vec<String>> {
    let files = workspace::files_below(&folder().join("fuzz_targets"))?;
    let names = files.iter().filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect();
    ensure!(!names.is_empty(), "there are no fuzz targets");
    Ok(names)
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Where they are, in the folder.
const SEEDS: &str = "corpus/seeds";

fn write_seeds() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--package", "rskafka-fuzz", "--bin", "seeds", "--"]).arg(folder().join(SEEDS));
    children::succeed(&mut cargo, "the seeds are not complete, or one of them is a finding")
}

/// `cargo fuzz COMMAND`.
fn cargo_fuzz(command: &str) -> Result<Command> {
    let mut cargo = tools::cargo("fuzz")?;
    let target_dir = workspace::target_dir().join("fuzz");
    cargo.args([command, "--fuzz-dir"]).arg(folder()).arg("--target-dir").arg(target_dir);
    // The sanitizers' flags are not stable; nothing in the code needs another compiler.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    Ok(cargo)
}

/// Runs one target; gives its row.
fn fuzz(target: &str, seconds: u64) -> Result<String> {
    let step = Step::start(format!("fuzz {target} for {seconds} s"));
    let (corpus, logs) = (folder().join("corpus").join(target), workspace::target_dir().join("fuzz/logs"));
    for folder in [&corpus, &logs] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let log = logs.join(format!("{target}.log"));
    let mut cargo = cargo_fuzz("run")?;
    cargo.arg(target).arg(&corpus).arg(folder().join(SEEDS).join(target)).arg("--");
    cargo.arg(format!("-max_total_time={seconds}")).args(["-timeout=10", "-malloc_limit_mb=256"]);
    // The seeds are whole messages, so there is no need to begin with short inputs.
    cargo.arg("-len_control=0");
    // Leaks are looked for with ptrace, which containers forbid.
    cargo.env("ASAN_OPTIONS", "detect_leaks=0");
    let (status, output) = children::run_logged(&mut cargo, &log, children::NO_LIMIT)?;
    ensure!(status.success(), "{}", children::tail(&log));
    step.done();
    let done = done(&output).with_context(|| format!("nothing was run: see {}", log.display()))?;
    Ok(format!("{target:<12} {done}"))
}

/// What libFuzzer says at its end, unless it ran nothing: how many inputs it ran, and how many reach what no other does.
fn done(output: &str) -> Option<&str> {
    let line = output.lines().rfind(|line| line.contains("\tDONE "))?.strip_prefix('#')?;
    (!line.starts_with("0\t")).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_run_is_read_from_the_last_line_and_nothing_is_not_a_run() {
        let output = "#2\tINITED cov: 29 ft: 82 corp: 1/92Kb exec/s: 0 rss: 61Mb\n\
            #271005\tDONE   cov: 4410 ft: 9597 corp: 998/260Kb lim: 16668 exec/s: 30111 rss: 480Mb\n";
        assert!(done(output).unwrap().starts_with("271005\tDONE "));
        assert_eq!(done("#2\tINITED"), None);
        assert_eq!(done("#0\tDONE   cov: 0"), None);
    }
}
