//! Vectors made by Apache Kafka's own Java library, against this crate: see `data/README.md`.
//!
//! Round trips cannot see a mistake made in both directions; these can. `RSKAFKA_GOLDEN=dir` runs
//! another set of the same format. Every test prints what it found, and fails if it checked nothing.

mod data;
mod errors;
mod invalid;
mod json;
mod messages;
mod records;
mod scram;
mod tally;
