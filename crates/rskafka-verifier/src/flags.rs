//! The command line.
#![allow(unreachable_pub, missing_docs, reason = "the code comes from the macro")]

use std::path::PathBuf;

use rskafka_verifier::tamper::Tampering;

xflags::xflags! {
    /// Puts rskafka to the test.
    cmd rskafka-verifier {
        /// Appends and tails a log, and verifies every record.
        cmd demo {
            /// HOST:PORT[,HOST:PORT]; a cluster of three brokers is embedded if not given.
            optional --bootstrap bootstrap: String
            /// The topic's; 3 if not given, or as many as there are brokers.
            optional --replication-factor replicas: i16
            /// How many records, 1,000,000 if not given.
            optional --records records: u64
            /// `--break` for short: tampers with what is read, to see it found: lose, repeat, swap or flip.
            optional --break-reads how: Tampering
            /// Writes topic, partition, number of records and digest of the values there, and keeps the topic.
            optional --report file: PathBuf
        }
        /// Prints the number of lines of standard input, and their digest as a report has it.
        cmd digest {}
    }
}

impl RskafkaVerifier {
    /// The flags of this process; ends it with the help text if they are wrong.
    pub fn parse() -> RskafkaVerifier {
        // The macro names a field after each flag, and `break` cannot name one.
        let args = std::env::args_os().skip(1);
        let args = args.map(|arg| if arg == "--break" { "--break-reads".into() } else { arg });
        RskafkaVerifier::from_vec(args.collect()).unwrap_or_else(|error| error.exit())
    }
}
