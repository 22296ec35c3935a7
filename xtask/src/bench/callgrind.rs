//! Counts the instructions of a check's sides with valgrind's callgrind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{children, workspace};

/// What a run has more than another is what its further passes took: start and end are in both.
const PASSES: (u32, u32) = (1, 5);

/// Whether there is a valgrind.
pub(super) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The instructions of one pass: of the subject, and of the baseline.
pub(super) fn count(binary: &Path, name: &str) -> Result<(f64, f64)> {
    Ok((side(binary, name, "subject")?, side(binary, name, "baseline")?))
}

fn side(binary: &Path, name: &str, side: &str) -> Result<f64> {
    let (few, many) = PASSES;
    let more = run(binary, name, side, many)?.saturating_sub(run(binary, name, side, few)?);
    Ok(more as f64 / f64::from(many - few))
}

fn run(binary: &Path, name: &str, side: &str, passes: u32) -> Result<u64> {
    let folder = workspace::target_dir().join("bench");
    fs::create_dir_all(&folder)?;
    let log = folder.join("callgrind.log");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(binary)
        .args(["--passes", name, side, &passes.to_string()])
        // `rep movsb` counts as an instruction for each byte that it copies.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824")
        .stdout(Stdio::null());
    let status = children::run(&mut valgrind)?;
    ensure!(status.success(), "valgrind failed ({status}): see {}", log.display());
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
