//! Calls on the cluster itself rather than on a partition's log.

pub(crate) mod configs;
pub(crate) mod delete_records;
pub(crate) mod durability;
pub(crate) mod topics;
