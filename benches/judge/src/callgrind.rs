//! Counts the instructions of a check's sides with valgrind's callgrind.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// What a run has more than another is what its further passes took: start and end are in both.
const PASSES: (u32, u32) = (1, 5);

/// Whether there is a valgrind.
pub(crate) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The instructions of one pass: of the subject, and of the baseline.
pub(crate) fn count(binary: &Path, name: &str, folder: &Path) -> Result<(f64, f64)> {
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
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(binary)
        .args(args)
        .arg(passes.to_string())
        // `rep movsb` counts as an instruction for each byte that it copies.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824");
    run(&mut valgrind).with_context(|| format!("see {}", log.display()))?;
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
