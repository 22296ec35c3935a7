//! `cargo xtask schema`: the listing of messages against Kafka's own schemas.
//!
//! The comparison is a test of the protocol crate, `tests/schema`: no crate of the project is compiled into xtask.

use anyhow::Result;

use crate::{children, workspace};

/// The command. The test prints each difference and what was compared, and fails if that was nothing.
pub(crate) fn command() -> Result<()> {
    let mut cargo = workspace::cargo();
    // The printed differences say all; where the test gave up does not matter.
    cargo.env("RUST_BACKTRACE", "0");
    cargo.args(["test", "--test", "schema", "--", "--nocapture"]);
    children::succeed(&mut cargo, "the listing is not what Kafka's schemas say, or nothing was compared")
}
