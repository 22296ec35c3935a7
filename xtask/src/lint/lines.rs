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
const PROGRAMS: [&str; 2] = ["rskafka-verifier", "xtask"];

/// Of what there may be so many lines, how many there are above that, and which packages it has.
type Limit = (&'static str, usize, usize, fn(&Package) -> bool);

/// What is above came with streams, replays, admin calls and the exclusive log, with their actors in the simulation, and with the
/// processes that claim a log from each other on real brokers: it may only sink.
const LIMITS: [Limit; 3] = [
    ("the client", 15_000, 2_070, |package| package.is_published() && package.name != FAKE),
    ("the fake cluster", 7_800, 0, |package| package.name == FAKE),
    ("verifier and xtask", 9_000, 1_080, |package| PROGRAMS.contains(&package.name.as_str())),
];

/// Prints the count of each package with a limit, and fails above one.
pub(crate) fn check(packages: &[Package]) -> Result<()> {
    let mut over = Vec::new();
    for (what, aim, above, has) in LIMITS {
        let (mut lines, most) = (0, aim + above);
        for Package { name, manifest_path, .. } in packages.iter().filter(|package| has(package)) {
            let of_package = lines_below(&manifest_path.with_file_name("src"))?;
            say!("   {of_package:>6} {name}");
            lines += of_package;
        }
        say!("   {lines:>6} in {what}; at most {most}");
        if (aim + 1..=most).contains(&lines) {
            say!("          which is {} above the aim of {aim}", lines - aim);
        }
        if lines > most {
            over.push(format!("{what}: {lines} lines of code, {most} are the most"));
        }
    }
    ensure!(over.is_empty(), "{}", over.join("; "));
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
        let source = [
            "//! Header.",
            "use a;",
            "#[cfg(test)]",
            "use b;",
            "fn f() {",
            "    #[cfg(test)]",
            "    g();",
            "}",
            "",
            "#[cfg(test)]",
            "mod tests {",
            "    fn t() {",
            "        x;",
            "    }",
            "}",
            "fn h() {}",
        ];
        assert_eq!(lines_without_tests(&source.join("\n")), 4);
    }
}
