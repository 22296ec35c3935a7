//! Counts the lines of code of the crates without their tests: the project stays small.
//!
//! The crates that a program with the client is built from share one limit. The fake cluster has its own, and so have the
//! verifier and xtask together.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::workspace::{self, Package};

/// Published, but no part of a program that uses the client.
const FAKE: &str = "rskafka-fake";
const MOST_OF_THE_CLIENT: usize = 15_000;
const MOST_OF_THE_FAKE: usize = 7_800;
/// The programs, and their folders.
const PROGRAMS: [(&str, &str); 2] = [("rskafka-verifier", "crates/rskafka-verifier"), ("xtask", "xtask")];
const MOST_OF_THE_PROGRAMS: usize = 9_000;

/// Prints the count of each published crate and of the programs, and fails above a limit.
pub(crate) fn check(root: &Path, packages: &[Package]) -> Result<()> {
    let (mut client, mut fake, mut programs) = (0, 0, 0);
    for package in packages.iter().filter(|package| package.is_published()) {
        let lines = lines_below(&root.join("crates").join(&package.name).join("src"))?;
        say!("   {lines:>6} {}", package.name);
        *if package.name == FAKE { &mut fake } else { &mut client } += lines;
    }
    for (name, folder) in PROGRAMS {
        let lines = lines_below(&root.join(folder).join("src"))?;
        say!("   {lines:>6} {name}");
        programs += lines;
    }
    for (what, lines, most) in [
        ("the client", client, MOST_OF_THE_CLIENT),
        ("the fake cluster", fake, MOST_OF_THE_FAKE),
        ("verifier and xtask", programs, MOST_OF_THE_PROGRAMS),
    ] {
        say!("   {lines:>6} in {what}; at most {most}");
        ensure!(lines <= most, "{what}: {lines} lines of code, {most} are the most");
    }
    Ok(())
}

fn lines_below(folder: &Path) -> Result<usize> {
    let is_code = |file: &&PathBuf| {
        let below = file.strip_prefix(folder).unwrap_or(file);
        let is_of_tests = below.ancestors().any(|path| path.file_stem().is_some_and(|stem| stem == "tests"));
        file.extension().is_some_and(|extension| extension == "rs") && !is_of_tests
    };
    let mut lines = 0;
    for file in workspace::files_below(folder)?.iter().filter(is_code) {
        lines += lines_without_tests(&fs::read_to_string(file)?);
    }
    Ok(lines)
}

/// The lines that are neither blank nor only a comment. Leaves out items under `#[cfg(test)]`; relies on rustfmt, which
/// closes an item at its own indentation.
fn lines_without_tests(source: &str) -> usize {
    let mut count = 0;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            let text = line.trim();
            count += usize::from(!text.is_empty() && !text.starts_with("//"));
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &str| {
            let at_indent = line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with(' '));
            at_indent && (line.ends_with('}') || line.ends_with(';'))
        };
        lines.by_ref().find(|line| ends(line));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_tests_are_not_counted() {
        let source = "\
//! Header.
use a;
#[cfg(test)]
use b;
fn f() {
    #[cfg(test)]
    g();
}

#[cfg(test)]
mod tests {
    fn t() {
        x;
    }
}
fn h() {}
";
        assert_eq!(lines_without_tests(source), 4);
    }
}
