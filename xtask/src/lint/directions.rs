//! Which crate may use which: the table of ARCHITECTURE.md, as a check.
//!
//! Only what is compiled into a crate counts; its tests may use more.

use anyhow::{Result, ensure};

use crate::workspace::{Dependency, Package};

struct Rule {
    package: &'static str,
    /// The packages of this workspace that it may use.
    may_use: &'static [&'static str],
    /// What it must know nothing of: a crate, or a crate's feature as `crate/feature`.
    must_not_use: &'static [&'static str],
}

const SOCKETS: &[&str] =
    &["tokio/net", "tokio/full", "tokio-rustls", "rustls", "tokio-socks", "socket2", "mio"];

/// What does input and output, or waits for it.
const IO: &[&str] =
    &["tokio", "tokio-util", "futures", "rustls", "tokio-rustls", "tokio-socks", "socket2", "mio", "time"];

const RULES: &[Rule] = &[
    Rule { package: "rskafka-protocol", may_use: &[], must_not_use: IO },
    Rule { package: "rskafka-transport", may_use: &["rskafka-protocol"], must_not_use: &[] },
    Rule {
        package: "rskafka-cluster",
        may_use: &["rskafka-protocol", "rskafka-transport"],
        must_not_use: SOCKETS,
    },
    Rule {
        package: "rskafka-client",
        may_use: &["rskafka-protocol", "rskafka-transport", "rskafka-cluster"],
        must_not_use: SOCKETS,
    },
    Rule {
        package: "rskafka",
        may_use: &[
            "rskafka-protocol",
            "rskafka-transport",
            "rskafka-cluster",
            "rskafka-client",
            "rskafka-fake",
        ],
        must_not_use: SOCKETS,
    },
    Rule { package: "rskafka-fake", may_use: &["rskafka-protocol"], must_not_use: &[] },
    Rule { package: "rskafka-fuzz", may_use: &["rskafka-protocol"], must_not_use: &[] },
    Rule { package: "rskafka-verifier", may_use: &["rskafka", "rskafka-fake"], must_not_use: &[] },
    Rule { package: "xtask", may_use: &[], must_not_use: &[] },
];

/// Compares the declared dependencies with the table.
pub(crate) fn check(packages: &[Package]) -> Result<()> {
    let violations = violations(packages);
    ensure!(violations.is_empty(), "{}", violations.join("\n"));
    Ok(())
}

fn violations(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
            violations.push(format!("{name} has no rule: add it to the table in directions.rs"));
            continue;
        };
        let compiled_in = |dependency: &&Dependency| dependency.kind.as_deref() != Some("dev");
        for dependency in package.dependencies.iter().filter(compiled_in) {
            let uses = &dependency.name;
            if packages.iter().any(|package| package.name == *uses) && !rule.may_use.contains(&uses.as_str())
            {
                violations.push(format!("{name} may not use {uses}"));
            }
            let features = dependency.features.iter().map(|feature| format!("{uses}/{feature}"));
            for used in
                features.chain([uses.clone()]).filter(|used| rule.must_not_use.contains(&used.as_str()))
            {
                violations.push(format!("{name} must not know {used}"));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

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
