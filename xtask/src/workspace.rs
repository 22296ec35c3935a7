//! Where this workspace and its build folder are.
//!
//! Everything that xtask keeps between runs (jars, environments) lies under cargo's target folder, so `cargo clean`
//! removes it and no other place of the machine is written.

use std::path::PathBuf;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

/// `CARGO_TARGET_DIR` where it is set, else `target`.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
