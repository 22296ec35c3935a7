//! `cargo xtask fuzz`: runs libFuzzer on the targets of `fuzz/`, from seeds made of the golden vectors.
//!
//! `cargo xtask test` holds the same checks against the seeds and what follows from them, without libFuzzer.
//!
//! Invariant: a target that ran nothing has failed; so has a run in which an API, version and direction has no seed that
//! decodes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
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
    let chosen = match target {
        Some(target) => {
            ensure!(all.contains(target), "the target is one of {}, not {target:?}", all.join(", "));
            vec![target.clone()]
        }
        None => all,
    };
    run(&chosen, *seconds)
}

/// Runs `targets` one after the other, for `seconds` in all.
fn run(targets: &[String], seconds: u64) -> Result<()> {
    find_compiler()?;
    let binaries = build()?;
    write_seeds()?;
    let shares: u64 = targets.iter().map(|target| share(target)).sum();
    let mut failed = Vec::new();
    for target in targets {
        match fuzz(&binaries, target, (seconds * share(target) / shares).max(1)) {
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

/// A target's share of the time: messages are the most of the code by far.
fn share(target: &str) -> u64 {
    match target {
        "requests" | "responses" => 3,
        "decompress" | "records" => 2,
        _ => 1,
    }
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

fn find_compiler() -> Result<()> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let found = Command::new(&compiler).arg("--version").output().is_ok_and(|output| output.status.success());
    let name = compiler.display();
    ensure!(found, "fuzzing needs a C++ compiler, as libFuzzer is built from source: `{name}` does not run");
    Ok(())
}

/// Builds the targets; gives the folder they are in.
fn build() -> Result<PathBuf> {
    let target_dir = workspace::target_dir().join("fuzz");
    let triple = host_triple()?;
    let mut cargo = tools::cargo("fuzz")?;
    cargo
        .args(["build", "--fuzz-dir"])
        .arg(folder())
        .args(["--target", &triple, "--target-dir"])
        .arg(&target_dir)
        // The sanitizers' flags are not stable; nothing in the code needs another compiler.
        .env("RUSTC_BOOTSTRAP", "1");
    children::succeed(&mut cargo, "the fuzz targets do not build")?;
    Ok(target_dir.join(triple).join("release"))
}

fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

fn seeds() -> PathBuf {
    folder().join("corpus/seeds")
}

fn write_seeds() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "rskafka-fuzz", "--bin", "seeds", "--"]).arg(seeds());
    children::succeed(&mut cargo, "the seeds are not complete, or one of them is a finding")
}

/// Runs one target; gives its row.
fn fuzz(binaries: &Path, target: &str, seconds: u64) -> Result<String> {
    let step = Step::start(format!("fuzz {target} for {seconds} s"));
    let corpus = folder().join("corpus").join(target);
    let artifacts = folder().join("artifacts").join(target);
    let logs = workspace::target_dir().join("fuzz/logs");
    for folder in [&corpus, &artifacts, &logs] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let log = logs.join(format!("{target}.log"));
    let binary = binaries.join(target);
    let mut command = Command::new(&binary);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-print_final_stats=1", "-timeout=10", "-malloc_limit_mb=256"])
        // The seeds are whole messages, so there is no need to begin with short inputs.
        .arg("-len_control=0")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus)
        .arg(seeds().join(target))
        // Leaks are looked for with ptrace, which containers forbid.
        .env("ASAN_OPTIONS", "detect_odr_violation=0:detect_leaks=0")
        .stderr(File::create(&log)?);
    let status = children::run(&mut command)?;
    let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    ensure!(status.success(), "{}\n  see {}", finding(&output, &binary), log.display());
    step.done();
    let stats = Stats::of(&output).with_context(|| format!("no statistics in {}", log.display()))?;
    ensure!(stats.runs > 0, "nothing was run: see {}", log.display());
    Ok(format!(
        "{target:<12} {:>10} runs {:>8} runs/s {:>6} in the corpus",
        stats.runs, stats.per_second, stats.corpus
    ))
}

/// What libFuzzer says at its end.
#[derive(Debug, PartialEq, Eq)]
struct Stats {
    runs: u64,
    per_second: u64,
    /// Inputs that reach something that no other does.
    corpus: u64,
}

impl Stats {
    fn of(output: &str) -> Option<Stats> {
        let stat = |name: &str| {
            let value = output.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
            value?.strip_prefix(':')?.trim().parse().ok()
        };
        let last = output.lines().rfind(|line| line.contains(" corp: "))?;
        let corpus = last.split(" corp: ").nth(1)?.split('/').next()?.parse().ok()?;
        let (runs, per_second) = (stat("number_of_executed_units")?, stat("average_exec_per_sec")?);
        Some(Stats { runs, per_second, corpus })
    }
}

/// Where a target failed and why, and how to see it again.
fn finding(output: &str, binary: &Path) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let error = lines.iter().find(|line| line.contains("ERROR: "));
    let what = match (panic, error) {
        (Some(at), _) => lines.iter().skip(at).take(2).copied().collect::<Vec<_>>().join("\n  "),
        (None, Some(error)) => (*error).to_owned(),
        (None, None) => "it ended without a word".to_owned(),
    };
    match lines.iter().find_map(|line| line.split("Test unit written to ").nth(1)) {
        Some(input) => format!("{what}\n  again: {} {input}", binary.display()),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_read() {
        let output = "\
#2\tINITED cov: 29 ft: 82 corp: 1/92Kb exec/s: 0 rss: 61Mb
#271005\tDONE   cov: 4410 ft: 9597 corp: 998/260Kb lim: 16668 exec/s: 30111 rss: 480Mb
stat::number_of_executed_units: 271005
stat::average_exec_per_sec:     30111
";
        assert_eq!(Stats::of(output), Some(Stats { runs: 271_005, per_second: 30_111, corpus: 998 }));
        assert_eq!(Stats::of("INITED"), None);
    }

    #[test]
    fn a_finding_says_where_and_how_to_see_it_again() {
        let output = "\
#7\tNEW    cov: 29
thread '<unnamed>' (1) panicked at src/wire.rs:12:5:
planted
==1== ERROR: libFuzzer: deadly signal
artifact_prefix='a/'; Test unit written to a/crash-12
";
        assert_eq!(
            finding(output, Path::new("bin")),
            "thread '<unnamed>' (1) panicked at src/wire.rs:12:5:\n  planted\n  again: bin a/crash-12"
        );
        assert_eq!(
            finding("==1== ERROR: libFuzzer: timeout\n", Path::new("bin")),
            "==1== ERROR: libFuzzer: timeout"
        );
    }
}
