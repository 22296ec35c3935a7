//! Many brokers as one cluster: who leads which partition, how to reach it, and when to try again.
//!
//! Invariant: a request is sent again only where the caller's verdict says so; no record is looked at
//! here.

mod address;
mod backoff;
mod cluster;
mod config;
mod dial;
mod error;
mod gate;
mod lane;
mod metadata;
mod refresh;
mod send;
mod warnings;

pub use backoff::Backoff;
pub use cluster::Cluster;
pub use config::ClusterConfig;
pub use error::{BrokerFailure, Error, Failure, Place};
pub use lane::Lane;
pub use metadata::{Broker, Leader, LeaderHint, Partition, Topic};
pub use rskafka_transport as transport;
pub use send::{Answer, Attempt, Call, News, Prepared, Route, Target, Verdict, Via};

#[cfg(test)]
mod tests;
