//! Workloads, checker and demo of rskafka; a proxy that breaks connections, and a SOCKS5 server.
//!
//! Invariant: what is verified is each record's content at its offset, not counts; the [`checker`] is
//! pure and knows nothing of how the [`demo`] gets its events.

mod accept;
mod append;
pub mod checker;
pub mod demo;
pub mod digest;
pub mod findings;
pub mod play;
mod progress;
pub mod proxy;
pub mod report;
mod runs;
mod say;
pub mod sim;
pub mod socks5;
mod tail;
pub mod tamper;
pub mod workload;
