//! Where this workspace and its build folder are, and what cargo knows of its packages.
//!
//! Everything that xtask keeps between runs (jars, environments) lies under cargo's target folder, so `cargo clean`
//! removes it and no other place of the machine is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The profile of what `cargo xtask test` runs for long: the simulation and the demo.
pub(crate) const CHECKED: &[&str] = &["--profile", "checked"];
/// What is to be fast.
pub(crate) const RELEASE: &[&str] = &["--release"];

/// The folder of the workspace's `Cargo.toml`: above the package that `cargo run` says it runs, else around the current
/// folder. Not a path from compile time: checkouts that share a target folder may run each other's binary.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(Path::parent).filter(|folder| is_root(folder)).map(Path::to_owned);
    let here = || std::env::current_dir().unwrap_or_default();
    root.unwrap_or_else(|| above(here()))
}

/// The nearest root at or above a folder; the folder itself if there is none, of which cargo then complains.
fn above(folder: PathBuf) -> PathBuf {
    folder.ancestors().find(|folder| is_root(folder)).map_or(folder.clone(), Path::to_owned)
}

fn is_root(folder: &Path) -> bool {
    folder.join("xtask/Cargo.toml").is_file() && folder.join("Cargo.toml").is_file()
}

/// `CARGO_TARGET_DIR` where it is set, else `target`.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// `cargo` in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// A package of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it goes to a registry.
    pub(crate) published: bool,
    /// Kind (`lib`, `bin`, `test`, `example`, ...) and name.
    pub(crate) targets: Vec<(String, String)>,
    pub(crate) features: Vec<String>,
    /// All but those for tests.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A normal or build dependency as its package declares it.
#[derive(Debug, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

/// All packages of the workspace.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages.iter().map(package).collect())
}

fn package(package: &Value) -> Package {
    let targets = array(&package["targets"]).flat_map(|target| {
        let name = string(&target["name"]);
        strings(&target["kind"]).map(move |kind| (kind, name.clone()))
    });
    let dependencies = array(&package["dependencies"]).filter(|dependency| dependency["kind"] != "dev");
    Package {
        name: string(&package["name"]),
        // An empty list of registries is how cargo writes `publish = false`.
        published: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        targets: targets.collect(),
        features: package["features"]
            .as_object()
            .into_iter()
            .flat_map(|features| features.keys().cloned())
            .collect(),
        dependencies: dependencies
            .map(|d| Dependency { name: string(&d["name"]), features: strings(&d["features"]).collect() })
            .collect(),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = String> + '_ {
    array(value).map(string)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
