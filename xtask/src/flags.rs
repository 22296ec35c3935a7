//! The command line.
#![allow(unreachable_pub, missing_docs, reason = "the code comes from the macro")]

xflags::xflags! {
    /// Environments, tests and checks of this workspace.
    cmd xtask {
        /// Starts, ends or describes a Kafka to test against.
        cmd env {
            /// Starts it and leaves it running; prints how to connect.
            cmd up {
                /// kafka (local JVMs), docker-kafka, docker-redpanda or fake
                required name: String
                /// Release of Apache Kafka, the newest 4.x if not given.
                optional --version version: String
                /// 1 (broker and controller in one, the default) or 3 (and a controller).
                optional --brokers brokers: u32
            }
            /// Ends its processes.
            cmd down {
                required name: String
            }
            /// Says what runs and how to connect.
            cmd status {
                required name: String
            }
        }
        /// Appends and tails a log, and verifies every record.
        cmd demo {
            /// fake (embedded, the default), kafka (3 temporary brokers) or HOST:PORT[,HOST:PORT].
            optional --env env: String
            /// How many records, 1,000,000 if not given.
            optional --records records: u64
            /// `--break` for short: tampers with what is read, to see it found: lose, repeat, swap or flip.
            optional --break-reads how: String
        }
        /// Runs all tests.
        cmd test {
            /// auto (with a real Kafka where Java and Maven are found, the default), fake (without) or kafka (must be).
            optional --env env: String
            /// Release of Apache Kafka, the newest 4.x if not given.
            optional --version version: String
        }
        /// Simulates the client against a fake cluster in virtual time, under random faults.
        cmd sim {
            /// A..B: these seeds, 0..2000 if not given.
            optional --seeds seeds: String
            /// Only this seed; shows its plan.
            optional --seed seed: String
            /// Shows every frame of the one seed.
            optional --trace
            /// readers (the default), writers, resenders or truncators.
            optional --profile profile: String
            /// Looks for fewer faults with which the seed, or the first that fails, fails too.
            optional --shrink
            /// Fails if a core makes fewer than 200 runs in a second.
            optional --check
            /// N[,N]: only these faults of the one seed's plan.
            optional --only numbers: String
        }
        /// Fuzzes the decoders of the protocol crate, from seeds made of the golden vectors.
        cmd fuzz {
            /// One target of `fuzz/`, all one after the other if not given.
            optional target: String
            /// For all targets together, 60 if not given.
            optional --seconds seconds: u64
        }
        /// Measures against the limits of speed and memory that are set for each crate.
        cmd bench {
            /// Fails where a limit is missed.
            optional --check
            /// Counts instructions (by valgrind) for every limit, not only where time cannot tell.
            optional --instructions
            /// Runs criterion's benches too, and writes docs/benchmarks.md and its drawing.
            optional --write-docs
        }
        /// Compares the listing of messages with Kafka's own schemas.
        cmd schema {}
        /// Checks all that is not a test: format, clippy, docs, licences, crate directions, features, schema.
        cmd lint {}
    }
}

impl Xtask {
    /// The flags of this process; ends it with the help text if they are wrong.
    pub fn parse() -> Xtask {
        // The macro names a field after each flag, and `break` cannot name one.
        let args = std::env::args_os().skip(1);
        let args = args.map(|arg| if arg == "--break" { "--break-reads".into() } else { arg });
        Xtask::from_vec(args.collect()).unwrap_or_else(|error| error.exit())
    }
}
