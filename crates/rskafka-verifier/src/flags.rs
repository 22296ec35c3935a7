//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rskafka_fake::Profile;
use rskafka_verifier::play::Topic;
use rskafka_verifier::tamper::Tampering;

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
    Demo(Demo),
    /// Serves a fake cluster on loopback ports, until it is ended.
    Fake(Fake),
    /// Prints the number of lines of standard input, and their digest as a report has it.
    Digest,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// `HOST:PORT[,HOST:PORT]`; a cluster of three brokers is embedded if not given.
    #[arg(long, value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
    /// The topic's; 3 if not given, or as many as there are brokers.
    #[arg(long)]
    pub(crate) replication_factor: Option<i16>,
    /// How many records.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) records: u64,
    /// Tampers with what is read, to see it found.
    #[arg(long = "break", value_name = "HOW")]
    pub(crate) tampering: Option<Tampering>,
    /// Writes topic, partition, number of records and digest of the values there, and keeps the topic.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
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
