//! Calls on the cluster itself rather than on a partition's log.

pub(crate) mod topics;
