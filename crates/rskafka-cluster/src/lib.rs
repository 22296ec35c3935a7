//! Many brokers as one cluster: which broker leads a partition, how to reach it, and when to try again.
//!
//! Invariant: after an answer, a request is sent again only where the caller's verdict says so. This crate does not look
//! at records.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod address;
mod attempts;
mod cluster;
mod config;
mod dial;
mod error;
mod gate;
mod lane;
mod learn;
mod metadata;
mod reach;
mod refresh;
mod retry;
mod send;
mod target;

pub use attempts::Attempts;
pub use cluster::{Cluster, StatsOfBroker};
pub use config::ClusterConfig;
pub use error::{Causes, Failed, Failure, Location};
pub use lane::Lane;
pub use learn::{Learned, NotDone};
pub use metadata::{Broker, Leader, LeaderHint, Partition, Topic};
pub use reach::{Lease, Via};
pub use refresh::MOST_FOR_ONE;
pub use retry::{Backoff, Class, Retry};
pub use rskafka_transport as transport;
pub(crate) use rskafka_transport::lock;
pub use send::{Answer, Call};
pub use target::{LeaderOf, Node, Target};

#[cfg(test)]
mod tests;
