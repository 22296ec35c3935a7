//! Which crate may use which, and which room of the client may name which: ARCHITECTURE.md's arrows, as a check.
//!
//! Only what is compiled into a crate counts; its tests may use more.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::workspace::{self, Dependency, Package};

/// A package, those of this workspace that it may use, and what it must know nothing of: a crate, or a crate's feature
/// as `crate/feature`.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const SOCKETS: &[&str] =
    &["tokio/net", "tokio/full", "tokio-rustls", "rustls", "tokio-socks", "socket2", "mio"];

/// What does input and output, or waits for it.
const IO: &[&str] =
    &["tokio", "tokio-util", "futures", "rustls", "tokio-rustls", "tokio-socks", "socket2", "mio", "time"];

const RULES: &[Rule] = &[
    (PROTOCOL, &[], IO),
    (TRANSPORT, &[PROTOCOL], &[]),
    (CLUSTER, &[PROTOCOL, TRANSPORT], SOCKETS),
    ("rskafka-client", &[PROTOCOL, TRANSPORT, CLUSTER], SOCKETS),
    ("rskafka", &[PROTOCOL, TRANSPORT, CLUSTER, "rskafka-client", FAKE], SOCKETS),
    (FAKE, &[PROTOCOL], &[]),
    ("rskafka-benches", &[], &[]),
    ("rskafka-fuzz", &[PROTOCOL], &[]),
    ("rskafka-verifier", &["rskafka", FAKE], &[]),
    ("xtask", &[], &[]),
];

const PROTOCOL: &str = "rskafka-protocol";
const TRANSPORT: &str = "rskafka-transport";
const CLUSTER: &str = "rskafka-cluster";
const FAKE: &str = "rskafka-fake";

const CLIENT: &str = "crates/rskafka-client/src";

/// The client's rooms: handles, and the mechanisms below them. All other modules lie below both.
const ROOMS: [&[&str]; 2] = [
    &["builder", "client", "partition_client", "producer"],
    &["admin", "consumer", "fetch", "produce", "wal"],
];

/// Compares the declared dependencies with the table, and what the client's modules name with its rooms.
pub(crate) fn check(root: &Path, packages: &[Package]) -> Result<()> {
    let mut violations = violations(packages);
    let client = root.join(CLIENT);
    for file in workspace::files_below(&client)?.iter().filter(|file| !file.ends_with("lib.rs")) {
        let name = file.strip_prefix(&client)?.display().to_string();
        violations.extend(upward_arrows(&name, &fs::read_to_string(file)?));
    }
    ensure!(violations.is_empty(), "{}", violations.join("\n"));
    Ok(())
}

fn violations(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some((_, may_use, must_not_use)) = RULES.iter().find(|(package, ..)| package == name) else {
            violations.push(format!("{name} has no rule: add it to the table in directions.rs"));
            continue;
        };
        let compiled_in = |dependency: &&Dependency| dependency.kind.as_deref() != Some("dev");
        for dependency in package.dependencies.iter().filter(compiled_in) {
            let uses = &dependency.name;
            if packages.iter().any(|package| package.name == *uses) && !may_use.contains(&uses.as_str()) {
                violations.push(format!("{name} may not use {uses}"));
            }
            let features = dependency.features.iter().map(|feature| format!("{uses}/{feature}"));
            for used in features.chain([uses.clone()]).filter(|used| must_not_use.contains(&used.as_str())) {
                violations.push(format!("{name} must not know {used}"));
            }
        }
    }
    violations
}

/// How high the room of a module of the client lies; 0 is the top.
fn height(module: &str) -> usize {
    ROOMS.iter().position(|room| room.contains(&module)).unwrap_or(ROOMS.len())
}

/// What a file of the client names above its own room, as `crate::module` or in `crate::{…}`.
fn upward_arrows(file: &str, source: &str) -> Vec<String> {
    let from = file.split(['/', '.']).next().unwrap_or_default();
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let named = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
        None => vec![path],
    });
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let modules = named.map(|path| path.trim().split(|c| !is_name(c)).next().unwrap_or_default());
    let upward = modules.filter(|to| height(to) < height(from));
    upward.map(|to| format!("{CLIENT}/{file} may not name crate::{to}, which stands on it")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_that_names_a_handle_is_found() {
        let arrows = |file, source| upward_arrows(file, source).len();
        assert_eq!(arrows("produce/task.rs", "use crate::client::Client;"), 1);
        assert_eq!(arrows("fetch/mod.rs", "use crate::{\n    builder::Limits,\n    error::Error,\n};"), 1);
        assert_eq!(arrows("error.rs", "fn of(queue: &crate::produce::Queue) {}"), 1);
        assert_eq!(arrows("client.rs", "use crate::admin::topics;\nuse crate::builder::ClientBuilder;"), 0);
        assert_eq!(
            arrows("produce/task.rs", "/// See [`crate::client::Client`].\nuse crate::core::Core;"),
            0
        );
    }

    fn package(name: &str, dependencies: &[(&str, &[&str])]) -> Package {
        let dependencies = dependencies.iter().map(|(name, features)| Dependency {
            name: (*name).to_owned(),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            kind: None,
        });
        Package { name: name.to_owned(), dependencies: dependencies.collect(), ..Package::default() }
    }

    #[test]
    fn the_allowed_directions_pass() {
        let packages = [
            package("rskafka-protocol", &[("bytes", &[])]),
            package("rskafka-transport", &[("rskafka-protocol", &[]), ("tokio", &["net"])]),
            package("rskafka-client", &[("rskafka-transport", &[]), ("tokio", &["sync", "time"])]),
        ];
        assert_eq!(violations(&packages), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let packages = [
            package("rskafka-protocol", &[]),
            package("rskafka-transport", &[("rskafka-client", &[])]),
            package("rskafka-client", &[]),
        ];
        assert_eq!(violations(&packages), ["rskafka-transport may not use rskafka-client"]);
    }

    #[test]
    fn forbidden_crates_and_features_are_found() {
        let packages = [
            package("rskafka-protocol", &[("tokio", &["sync"])]),
            package("rskafka-client", &[("tokio", &["net"])]),
        ];
        assert_eq!(
            violations(&packages),
            ["rskafka-protocol must not know tokio", "rskafka-client must not know tokio/net"]
        );
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        assert_eq!(violations(&[package("rskafka-extra", &[])]).len(), 1);
    }
}
