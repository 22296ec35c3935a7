//! The command line.
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "the code comes from the macro"
)]

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
                /// 1 (broker and controller in one) or 3 (and a controller).
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
    }
}
