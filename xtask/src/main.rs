//! The project's own commands: `cargo xtask --help`.
//!
//! Small on purpose: it starts environments and runs cargo; no crate of the project is compiled into it.

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::too_many_lines)]

#[macro_use]
#[path = "../../crates/rskafka-verifier/src/say.rs"]
mod say;
#[path = "../../crates/rskafka-verifier/src/stat.rs"]
mod stat;

mod bench;
mod binaries;
mod chaos;
mod children;
mod demo;
mod docs;
mod env;
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
use clap::{Parser, Subcommand};

/// Environments, tests and checks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts, ends or describes a Kafka to test against.
    #[command(subcommand)]
    Env(env::Command),
    /// Appends and tails a log, and verifies every record.
    Demo(demo::Flags),
    /// Writes and reads while brokers of a real Kafka are killed, frozen and restarted, and verifies every record.
    Chaos(chaos::Flags),
    /// Runs all tests.
    Test(test::Flags),
    /// Simulates the client against a fake cluster in virtual time, under random faults.
    Sim(sim::Flags),
    /// Fuzzes the decoders of the protocol crate, from seeds made of the golden vectors.
    Fuzz(fuzz::Flags),
    /// Measures against the limits of speed and memory that are set for each crate.
    Bench(bench::Options),
    /// Plants known bugs into a copy of the tree, one after the other; each must be caught by its test.
    Planted(planted::Flags),
    /// Compares the listing of messages with Kafka's own schemas.
    Schema,
    /// Checks the links of the documentation, and makes a book of it where mdbook is installed.
    Docs,
    /// Checks all that is not a test: format, clippy, docs, licences, crate directions, features, schema.
    Lint,
}

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
        Command::Docs => docs::command(),
        Command::Lint => lint::command(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(args: &[&str]) -> String {
        Xtask::try_parse_from([&["xtask"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Xtask::command().debug_assert();
    }

    #[test]
    fn a_typo_gets_a_suggestion_and_the_usage() {
        let text = refused(&["tets"]);
        assert!(text.contains("similar subcommand") && text.contains("'test'"), "{text}");
        let text = refused(&["test", "--verion", "4.3.0"]);
        assert!(text.contains("'--version'") && text.contains("Usage: cargo xtask test"), "{text}");
        let text = refused(&["test", "--env", "fak"]);
        assert!(text.contains("possible values: auto, fake, kafka"), "{text}");
    }

    #[test]
    fn no_argument_prints_the_help() {
        let error = Xtask::try_parse_from(["xtask"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert!(error.to_string().contains("Runs all tests"), "{error}");
    }

    #[test]
    fn every_command_has_a_help_of_its_own() {
        for command in Xtask::command().get_subcommands() {
            let help = Xtask::try_parse_from(["xtask", command.get_name(), "--help"]).unwrap_err();
            assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp, "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn chaos_has_minutes_a_seed_a_version_and_a_profile_and_a_default_for_each() {
        let chaos = |args: &[&str]| match Xtask::try_parse_from([&["xtask", "chaos"], args].concat()) {
            Ok(Xtask { command: Command::Chaos(flags) }) => Ok(format!("{flags:?}")),
            other => Err(format!("{other:?}")),
        };
        let newest = crate::env::version::Version::default();
        let given = |minutes, seed, version, profile: &str| {
            format!(
                "Flags {{ minutes: {minutes}, seed: {seed}, version: {version:?}, profile: {profile:?} }}"
            )
        };
        assert_eq!(chaos(&[]), Ok(given(2, 0, newest, "writers")));
        let all = chaos(&["--minutes=10", "--seed=7", "--version=3.9.1", "--profile=claimants"]).unwrap();
        let version: crate::env::version::Version = "3.9.1".parse().unwrap();
        assert_eq!(all, given(10, 7, version, "claimants"));
        let is_refused = |args| chaos(args).is_err();
        assert!(is_refused(&["--minutes=-1"]) && is_refused(&["--seed=x"]) && is_refused(&["--profile=all"]));
    }

    #[test]
    fn the_simulation_knows_the_options_of_its_program() {
        let parsed = Xtask::try_parse_from(["xtask", "sim", "--seed", "3", "--trace"]).unwrap();
        assert!(matches!(parsed.command, Command::Sim(_)));
        assert!(refused(&["sim", "--seeds", "5..5"]).contains("it is A..B, such as 0..2000"));
        assert!(refused(&["sim", "--profile", "nobody"]).contains("readers, writers, resenders, truncators"));
    }
}
