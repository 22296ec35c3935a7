//! The fake cluster, spoken to by raw frames.

mod admin;
mod api_versions;
mod brokers;
mod bytes;
mod compare;
mod faults;
mod fetch;
mod idempotence;
mod list_offsets;
mod order;
mod produce;
mod redpanda;
mod replication;
#[cfg(feature = "sasl")]
mod sasl;
mod scenarios;
mod support;
mod surplus;
mod throttling;
#[cfg(feature = "tls")]
mod tls;
mod topics;
mod transactions;
