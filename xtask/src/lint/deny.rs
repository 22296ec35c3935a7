//! Licences, banned crates and sources of all dependencies, by cargo-deny and `deny.toml`.
//!
//! Advisories are left out: their database needs a network, and a run must not change without a change of the project.

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::children;
use crate::lint::succeed;
use crate::progress::Step;

/// Checks them, and installs cargo-deny first if it is missing.
pub(crate) fn check(sh: &Shell) -> Result<()> {
    if cmd!(sh, "cargo deny --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        let step = Step::start("installing cargo-deny, which takes minutes, once");
        let status = children::run(&mut cmd!(sh, "cargo install cargo-deny --locked --quiet").into())?;
        if !status.success() {
            anyhow::bail!("`cargo install cargo-deny --locked` failed ({status})");
        }
        step.done();
    }
    // cargo-deny looks at the dependencies for every platform; some were never needed to build here.
    succeed(cmd!(sh, "cargo fetch --quiet --locked").into()).context("cannot fetch the dependencies")?;
    succeed(
        cmd!(sh, "cargo deny --offline --log-level warn check --hide-inclusion-graph licenses bans sources")
            .into(),
    )
}
