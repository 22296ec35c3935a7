//! The simulation, the demo, chaos, and a proxy that breaks connections.
//!
//! The pure rules of [`sim`] are the one checker, for simulation, live runs, chaos and the demo. They verify each record's content at its
//! offset, not counts.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod chaos;
pub mod demo;
pub mod play;
mod progress;
pub mod proxy;
pub mod report;
mod say;
pub mod sim;
mod stat;

use std::process::ExitCode;

/// What a program ends with; says its error.
pub fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        note!("error: {error:#}");
        ExitCode::FAILURE
    })
}
