//! The command line.
#![allow(unreachable_pub, missing_docs, reason = "the code comes from the macro")]

use std::net::SocketAddr;
use std::path::PathBuf;

use rskafka_verifier::proxy::Fault;
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
        /// Passes TCP connections on to a broker, until they are to break.
        cmd proxy {
            /// HOST:PORT
            required target: String
            /// IP:PORT to listen on; a free port of 127.0.0.1 if not given.
            optional --listen address: SocketAddr
            /// ACTION@MOMENT, e.g. freeze@answer:0 for the first answer to a Produce. Actions: freeze[:DIRECTION],
            /// slow:BYTES_PER_SECOND, cut, reset, stop:PID. Moments: byte:DIRECTION:N, tls:DIRECTION:N (a record),
            /// request:KEY, end-of-request:KEY, answer:KEY. Directions: to-broker, to-client. Each once.
            repeated --fault fault: Fault
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
