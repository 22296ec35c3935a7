//! Where this workspace and its build folder are, and what cargo knows of its packages.
//!
//! Everything that xtask keeps between runs (jars, environments) lies under cargo's target folder, so `cargo clean`
//! removes it and no other place of the machine is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use walkdir::WalkDir;

use crate::children;

/// For cargo to build what `cargo xtask test` runs for long: with assertions, and optimised where the time goes.
pub(crate) const CHECKED: &[&str] = &["--config", ".cargo/checked.toml"];

/// How programs of this workspace are built.
pub(crate) struct Programs {
    build: &'static [&'static str],
    /// Below the target folder.
    folder: &'static str,
}

impl Programs {
    /// As `CHECKED`, with the features of dependencies that the tests have: with those that `cargo run` chooses, all would be
    /// built again.
    pub(crate) const CHECKED: Self = Self {
        build: &["test", "--config", ".cargo/checked.toml", "--no-run", "--test", "sim"],
        folder: "debug",
    };
    /// For what is held to a speed.
    pub(crate) const FAST: Self = Self {
        build: &["build", "--profile", "fast", "--package", "rskafka-verifier", "--bin", "simulate"],
        folder: "fast",
    };
    pub(crate) const RELEASE: Self =
        Self { build: &["build", "--release", "--package", "rskafka-verifier"], folder: "release" };

    /// Builds the program and gives the command that runs it. To be run at once: another checkout that shares the target
    /// folder would put its own there.
    pub(crate) fn built(&self, name: &str) -> Result<Command> {
        children::succeed(cargo().args(self.build), &format!("{name} does not build"))?;
        let mut program = Command::new(target_dir().join(self.folder).join(name));
        program.current_dir(root());
        Ok(program)
    }
}

/// The folder of the workspace's `Cargo.toml`: above the package that `cargo run` says it runs, else around the current
/// folder. Not a path from compile time: checkouts that share a target folder may run each other's binary.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let folder = package.unwrap_or_else(|| std::env::current_dir().unwrap_or_default());
    let is_root = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    // Without a root above it, cargo reports the error.
    folder.ancestors().find(is_root).unwrap_or(&folder).to_owned()
}

/// The one that cargo uses: it reads variables, and `build.target-dir` in the files of its own configuration.
pub(crate) fn target_dir() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let found = FOUND.get_or_init(|| metadata().map(|of| of.target_directory).unwrap_or_default());
    // Where cargo does not say it, it cannot build either, and says so when it is to.
    if found.as_os_str().is_empty() { root().join("target") } else { found.clone() }
}

/// `cargo` in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// All files below a folder, by name.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = files.filter(|entry| entry.as_ref().map_or(true, |entry| !entry.file_type().is_dir()));
    files
        .map(|entry| Ok(entry.with_context(|| format!("cannot read {}", folder.display()))?.into_path()))
        .collect()
}

/// A package, as `cargo metadata` describes it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    /// The registries that it may go to: `None` for any, and empty for `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) targets: Vec<Target>,
    /// Each with what it turns on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev` or `build`; `None` for one that is compiled in.
    pub(crate) kind: Option<String>,
    pub(crate) features: Vec<String>,
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// The names of its targets of a kind, such as `test`.
    pub(crate) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let targets = self.targets.iter().filter(move |target| target.kind.iter().any(|of| of == kind));
        targets.map(|target| target.name.as_str())
    }
}

/// The packages of the workspace.
pub(crate) fn packages() -> Result<Vec<Package>> {
    Ok(metadata()?.packages)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    #[serde(default)]
    target_directory: PathBuf,
}

fn metadata() -> Result<Metadata> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}
