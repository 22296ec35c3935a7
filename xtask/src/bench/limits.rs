//! Runs the targets called `limits`, which print a line of JSON for each check. Where time cannot tell, their instructions are
//! counted with valgrind's callgrind.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Options;
use super::check::{Check, Row, Samples, Text};
use crate::binaries::Binary;
use crate::children;
use crate::progress::Step;

/// Runs one target by this command; gives a row for each of its checks, and adds what it has for the page. Logs go to `folder`.
pub(super) fn measure(
    target: &Binary,
    command: &mut Command,
    options: Options,
    folder: &Path,
    texts: &mut Vec<Text>,
) -> Result<Vec<Row>> {
    let step = Step::start(format!("measuring with {}", target.program.display()));
    let output = children::read(command, &format!("{} failed", target.program.display()))?;
    step.done();
    let mut rows = Vec::new();
    for line in output.lines() {
        match Check::parse(line)? {
            Check::Samples(samples) => rows.push(row_of(&samples, target, options, folder)?),
            Check::Allocations(allocations) => rows.push(Row::of_counts(allocations)),
            Check::Text(text) => texts.push(text),
        }
    }
    Ok(rows)
}

fn row_of(samples: &Samples, target: &Binary, options: Options, folder: &Path) -> Result<Row> {
    let is_wanted = options.instructions || samples.figure().is_in_doubt(samples.limit());
    let mut instructions = None;
    if is_wanted && samples.instructions_tell {
        if can_count() {
            let step = Step::start(format!("counting instructions of {}", samples.name));
            instructions = Some(count(&target.program, &samples.name, folder)?);
            step.done();
        } else {
            say!("{}: time cannot tell, and there is no valgrind to count instructions", samples.name);
        }
    }
    Ok(Row::of_samples(samples, instructions))
}

/// What a run has more than another is what its further passes took: start and end are in both.
const PASSES: (u32, u32) = (1, 5);

/// Whether there is a valgrind.
fn can_count() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The instructions of one pass: of the subject, and of the baseline.
fn count(binary: &Path, name: &str, folder: &Path) -> Result<(f64, f64)> {
    let side = |side: &str| -> Result<f64> {
        let passes = |passes| count_passes(binary, &["--passes", name, side], passes, folder);
        let (few, many) = PASSES;
        Ok(passes(many)?.saturating_sub(passes(few)?) as f64 / f64::from(many - few))
    };
    Ok((side("subject")?, side("baseline")?))
}

fn count_passes(binary: &Path, args: &[&str], passes: u32, folder: &Path) -> Result<u64> {
    let log = folder.join("callgrind.log");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--log-file={}", log.display())).arg(binary).args(args).arg(passes.to_string());
    // `rep movsb` counts as an instruction for each byte that it copies.
    valgrind.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824");
    children::read(&mut valgrind, "valgrind failed").with_context(|| format!("see {}", log.display()))?;
    collected(&fs::read_to_string(&log)?).with_context(|| format!("no count in {}", log.display()))
}

fn collected(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.split("Collected : ").nth(1))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 92184291\n==7==\n"), Some(92_184_291));
        assert_eq!(collected("==7== nothing\n"), None);
    }
}
