//! What the pages of the documentation show is what is there.

mod examples;
mod figures;
mod guide;
mod items;
mod links;
mod observability;
mod outside;
mod packages;
mod public_api;
mod readme;
mod scenarios;
mod workflow;

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
