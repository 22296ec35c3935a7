//! Counts the lines of the library crates without their tests: the project stays small.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::workspace::Package;

const MOST: usize = 15_000;

/// Prints the count of each published crate and of all, and fails above the limit.
pub(crate) fn check(root: &Path, packages: &[Package]) -> Result<()> {
    let mut total = 0;
    for package in packages.iter().filter(|package| package.published) {
        let lines = lines_below(&root.join("crates").join(&package.name).join("src"))?;
        println!("   {lines:>6} {}", package.name);
        total += lines;
    }
    println!("   {total:>6} of at most {MOST}");
    ensure!(total <= MOST, "the library crates have {total} lines without tests, {MOST} are the most");
    Ok(())
}

fn lines_below(folder: &Path) -> Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            lines += lines_below(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            lines += lines_without_tests(&fs::read_to_string(&path)?);
        }
    }
    Ok(lines)
}

/// Leaves out items under `#[cfg(test)]`; relies on rustfmt, which closes an item at its own indentation.
fn lines_without_tests(source: &str) -> usize {
    let mut count = 0;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            count += 1;
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
        assert_eq!(lines_without_tests(source), 6);
    }
}
