//! The handle's commands on what the cluster holds and on what it does wrong.
//!
//! Invariant: a command takes effect before it returns; requests served later see it.

mod faults;
mod network;
mod partitions;
mod records;
mod topics;
