//! The fake cluster, spoken to by raw frames.

mod api_versions;
mod compare;
mod produce;
mod support;
