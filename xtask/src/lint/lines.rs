//! Counts the lines of the crates without their tests: the project stays small.
//!
//! What a program that uses the client is made of has one limit, the fake cluster that it is tested with
//! another, the programs that put both to the test a third. They are on lines of code; with the documentation and blank lines, which are printed beside
//! it, it is what there is to read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::workspace::{self, Package};

/// The crate that no program is shipped with.
const FAKE: &str = "rskafka-fake";
const MOST_OF_THE_CLIENT: usize = 15_000;
const MOST_OF_THE_FAKE: usize = 8_000;
/// The programs, and where they are.
const PROGRAMS: [(&str, &str); 2] = [("rskafka-verifier", "crates/rskafka-verifier"), ("xtask", "xtask")];
const MOST_OF_THE_PROGRAMS: usize = 9_000;

/// Prints the count of each published crate and of the programs, and fails above a limit.
pub(crate) fn check(root: &Path, packages: &[Package]) -> Result<()> {
    let (mut client, mut fake, mut programs) = (Lines::default(), Lines::default(), Lines::default());
    say!("     code  with docs");
    for package in packages.iter().filter(|package| package.is_published()) {
        let lines = lines_below(&root.join("crates").join(&package.name).join("src"))?;
        say!("   {:>6}     {:>6} {}", lines.code, lines.all, package.name);
        if package.name == FAKE { &mut fake } else { &mut client }.add(lines);
    }
    for (name, folder) in PROGRAMS {
        let lines = lines_below(&root.join(folder).join("src"))?;
        say!("   {:>6}     {:>6} {name}", lines.code, lines.all);
        programs.add(lines);
    }
    for (what, lines, most) in [
        ("the client", client, MOST_OF_THE_CLIENT),
        ("the fake cluster", fake, MOST_OF_THE_FAKE),
        ("verifier and xtask", programs, MOST_OF_THE_PROGRAMS),
    ] {
        say!("   {:>6}     {:>6} in {what}; at most {most} of code", lines.code, lines.all);
        ensure!(lines.code <= most, "{what}: {} lines of code, {most} are the most", lines.code);
    }
    Ok(())
}

/// Lines without those of tests.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Lines {
    /// Every line.
    all: usize,
    /// Those that are neither blank nor only a comment.
    code: usize,
}

impl Lines {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.code += other.code;
    }
}

fn lines_below(folder: &Path) -> Result<Lines> {
    let mut lines = Lines::default();
    let is_code = |file: &&PathBuf| {
        let below = file.strip_prefix(folder).unwrap_or(file);
        let is_of_tests = below.ancestors().any(|path| path.file_stem().is_some_and(|stem| stem == "tests"));
        file.extension().is_some_and(|extension| extension == "rs") && !is_of_tests
    };
    for file in workspace::files_below(folder)?.iter().filter(is_code) {
        lines.add(lines_without_tests(&fs::read_to_string(file)?));
    }
    Ok(lines)
}

/// Leaves out items under `#[cfg(test)]`; relies on rustfmt, which closes an item at its own indentation.
fn lines_without_tests(source: &str) -> Lines {
    let mut count = Lines::default();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            let text = line.trim();
            count.all += 1;
            count.code += usize::from(!text.is_empty() && !text.starts_with("//"));
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
        assert_eq!(lines_without_tests(source), Lines { all: 6, code: 4 });
    }
}
