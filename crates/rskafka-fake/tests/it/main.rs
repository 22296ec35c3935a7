//! The fake cluster, spoken to by raw frames.

mod api_versions;
mod produce;
mod support;
