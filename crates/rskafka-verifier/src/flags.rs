//! The command line.

use clap::{Args, Parser, Subcommand};
use rskafka_fake::Profile;
use rskafka_verifier::demo;
use rskafka_verifier::play::Topic;

/// Puts rskafka to the test.
#[derive(Debug, Parser)]
#[command(name = "rskafka-verifier", arg_required_else_help = true)]
pub(crate) struct Verifier {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Appends and tails a log, and verifies every record.
    Demo(demo::Options),
    /// Serves a fake cluster on loopback ports, until it is ended.
    Fake(Fake),
}

#[derive(Debug, Args)]
pub(crate) struct Fake {
    /// How many.
    #[arg(long, default_value_t = 1)]
    pub(crate) brokers: usize,
    /// `NAME:PARTITIONS[:REPLICAS]`, a topic to begin with; may be given several times.
    #[arg(long = "topic")]
    pub(crate) topics: Vec<Topic>,
    /// The broker to behave like, e.g. kafka-3.9 or redpanda; the newest Kafka if not given.
    #[arg(long, default_value_t)]
    pub(crate) profile: Profile,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Verifier::command().debug_assert();
    }
}
