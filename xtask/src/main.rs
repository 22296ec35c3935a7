//! The project's own commands: `cargo xtask --help`.
//!
//! Small on purpose: it starts environments and runs cargo; no crate of the project is compiled into it.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::too_many_lines)]

#[macro_use]
#[path = "../../crates/rskafka-verifier/src/say.rs"]
mod say;

mod bench;
mod binaries;
mod chaos;
mod children;
mod demo;
mod env;
mod flags;
mod foreign;
mod fuzz;
mod libtest;
mod lint;
mod planted;
mod process;
mod progress;
mod schema;
mod sim;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::flags::{Command, Xtask};

fn main() -> ExitCode {
    match run(Xtask::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    children::end_with_this_process()?;
    match command {
        Command::Env(command) => env::command(command),
        Command::Demo(flags) => demo::command(&flags),
        Command::Chaos(flags) => chaos::command(&flags),
        Command::Test(flags) => test::command(&flags),
        Command::Sim(flags) => sim::command(&flags),
        Command::Fuzz(flags) => fuzz::command(&flags),
        Command::Bench(options) => bench::command(options),
        Command::Planted(flags) => planted::command(&flags),
        Command::Schema => schema::command(),
        Command::Lint => lint::command(),
    }
}
