//! Licences, banned crates and sources of all dependencies, by cargo-deny and `deny.toml`.
//!
//! Advisories are left out: their database needs a network, and a run must not change without a change of the project.

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::lint::succeed;
use crate::tools;

/// Checks them.
pub(crate) fn check(sh: &Shell) -> Result<()> {
    let mut deny = tools::cargo("deny")?;
    // cargo-deny checks the dependencies for every platform; a build here may not have downloaded all of them.
    succeed(cmd!(sh, "cargo fetch --quiet --locked").into()).context("cannot fetch the dependencies")?;
    deny.args(["--offline", "--log-level", "warn", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    succeed(deny)
}
