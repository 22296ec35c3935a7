//! `cargo xtask planted`: bugs of the kind that people make, as patches in `xtask/planted`, each with the test that is to
//! catch it.
//!
//! Invariant: a bug is caught only by a test that ran and failed, and that passes without the bug. The patches are
//! applied to a copy of the tree below the target folder, never to the tree itself.

mod net;
mod patch;
mod tree;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::net::Net;
use self::patch::Patch;
use self::tree::Tree;
use crate::libtest::Summary;
use crate::progress::Step;
use crate::say::counted;
use crate::workspace;

const PAGE: &str = "docs/planted.md";
/// How alike two names are from which one is a typing error of the other.
const ALIKE: f64 = 0.7;
const PAGE_HEAD: &str = include_str!("planted/page.md");

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Names of patches in xtask/planted, without `.patch`; all if not given.
    names: Vec<String>,
    /// Writes the table into docs/planted.md.
    #[arg(long, conflicts_with = "names")]
    write_docs: bool,
}

/// The command.
pub(crate) fn command(flags: &Flags) -> Result<()> {
    let root = workspace::root();
    let patches = chosen(patch::all(&root)?, &flags.names)?;
    for patch in &patches {
        patch.check(&root)?;
    }
    let tree = Tree::copy(&root)?;
    let mut failures = failing_without_bug(&tree, &patches)?;
    let mut rows = Vec::new();
    for patch in &patches {
        match caught(&tree, patch)? {
            Ok(took) => rows.push((patch, took)),
            Err(error) => {
                note!("{}: {error:#}", patch.name);
                failures.push(format!("{} is not caught ({error:#})", patch.name));
            }
        }
    }
    let table = table(&rows);
    say!("\n{}", table.trim_end());
    ensure!(failures.is_empty(), "planted: {}", failures.join("; "));
    if flags.write_docs {
        fs::write(root.join(PAGE), format!("{PAGE_HEAD}{table}"))?;
        say!("wrote {PAGE}");
    }
    say!("{} caught", counted(rows.len(), "bug is", "bugs are"));
    Ok(())
}

/// Checks the form of every patch, and that it applies, without building anything.
pub(crate) fn check(root: &Path) -> Result<()> {
    let patches = patch::all(root)?;
    let wrong: Vec<String> = patches
        .iter()
        .filter_map(|patch| patch.check(root).err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn chosen(mut patches: Vec<Patch>, names: &[String]) -> Result<Vec<Patch>> {
    let all: Vec<&str> = patches.iter().map(|patch| patch.name.as_str()).collect();
    for name in names {
        let name = name.as_str();
        ensure!(all.contains(&name), "{}", unknown(name, &all));
    }
    patches.retain(|patch| names.is_empty() || names.contains(&patch.name));
    Ok(patches)
}

/// What is said of a name that no patch has.
fn unknown(name: &str, all: &[&str]) -> String {
    let others = counted(all.len(), "other", "others");
    let nearest = all.iter().map(|other| (strsim::jaro(name, other), other));
    let nearest = nearest.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map(|(_, other)| format!("; did you mean {other}?")).unwrap_or_default();
    format!("there is no planted bug {name:?}, but {others} in {}{hint}", patch::FOLDER)
}

/// The tests that fail although no bug is planted: they would catch anything.
fn failing_without_bug(tree: &Tree, patches: &[Patch]) -> Result<Vec<String>> {
    let nets: BTreeSet<&Net> = patches.iter().map(|patch| &patch.net).collect();
    let mut failures = Vec::new();
    for net in nets {
        let step = Step::start(format!("without a bug: {net}"));
        match net.run(tree)? {
            (Summary { failed: 0, passed: 1.., .. }, _) => step.done(),
            (Summary { failed: 0, .. }, _) => failures.push(format!("no test ran without a bug: {net}")),
            _ => failures.push(format!("fails without a bug: {net}")),
        }
    }
    Ok(failures)
}

/// How long the test took to fail. After an outer error the copy of the tree is unusable.
fn caught(tree: &Tree, patch: &Patch) -> Result<Result<Duration>> {
    patch.git_apply(&tree.root, &[])?;
    let step = Step::start(format!("{}: {}", patch.name, patch.net));
    let outcome = patch.net.run(tree);
    patch.git_apply(&tree.root, &["--reverse"])?;
    Ok(outcome.and_then(|(Summary { passed, failed, .. }, took)| {
        ensure!(passed + failed > 0, "no test ran: {}", patch.net);
        ensure!(failed > 0, "the test passes: {}", patch.net);
        step.done();
        Ok(took)
    }))
}

fn table(rows: &[(&Patch, Duration)]) -> String {
    let mut table = "| bug | caught by | seconds |\n|---|---|---|\n".to_owned();
    for (patch, took) in rows {
        let Patch { name, bug, net, .. } = patch;
        let _ = writeln!(table, "| `{name}`: {bug} | `{net}` | {:.1} |", took.as_secs_f64());
    }
    table
}
