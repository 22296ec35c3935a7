//! Each package that is published says what it is, and has what it needs beside its code; `cargo xtask lint` builds them.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use serde_json::Value;

use crate::root;

const CATEGORIES: [&str; 2] = ["database", "network-programming"];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--all-features"])).unwrap()
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

/// Those of this workspace that are not `publish = false`.
pub(crate) fn published(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members: HashSet<&str> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let packages = list(&metadata["packages"]).iter();
    packages.filter(move |package| members.contains(text(&package["id"])) && package["publish"].is_null())
}

/// What is missing in a package's manifest, or is there and should not be.
fn defects(package: &Value) -> Vec<String> {
    let mut defects = Vec::new();
    let mut expect = |is_there: bool, what: &str| {
        if !is_there {
            defects.push(format!("{}: {what}", text(&package["name"])));
        }
    };
    expect(!text(&package["description"]).is_empty(), "no description");
    expect(text(&package["license"]) == "Apache-2.0 OR MIT", "another licence");
    expect(!text(&package["readme"]).is_empty(), "no readme");
    expect((1..=5).contains(&list(&package["keywords"]).len()), "not one to five keywords");
    let categories: Vec<&str> = list(&package["categories"]).iter().map(text).collect();
    expect(!categories.is_empty() && categories.iter().all(|of| CATEGORIES.contains(of)), "other categories");
    expect(!text(&package["rust_version"]).is_empty(), "no rust-version");
    expect(
        package["metadata"]["docs"]["rs"]["all-features"] == true,
        "hosted documentation without features",
    );
    defects
}

#[test]
fn every_published_package_says_what_it_is() {
    let metadata = metadata();
    let defects: Vec<String> = published(&metadata).flat_map(defects).collect();
    assert_eq!(defects, [""; 0]);
    assert_eq!(published(&metadata).count(), 6);
}

#[test]
fn a_manifest_without_these_is_found() {
    let package = serde_json::json!({ "name": "bare", "license": "MIT", "categories": ["food"] });
    assert_eq!(defects(&package).len(), 7);
}

#[test]
fn every_package_has_its_licences_and_its_readme_and_no_tests() {
    let metadata = metadata();
    for package in published(&metadata).map(|package| text(&package["name"])) {
        let files = cargo(&["package", "--list", "--allow-dirty", "--package", package]);
        let files: Vec<&str> = files.lines().collect();
        for needed in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"] {
            assert!(files.contains(&needed), "{package} has no {needed}: {files:?}");
        }
        let of_tests = |file: &&&str| file.starts_with("tests/") || file.starts_with("benches/");
        let more: Vec<_> = files.iter().filter(of_tests).collect();
        assert!(more.is_empty() || more == [&"tests/common/recover.rs"], "{package} has {more:?}");
    }
}

/// As numbers, of which a manifest may leave out the last.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap_or_default())
}

fn by_id(of: &Value) -> HashMap<&str, &Value> {
    list(of).iter().map(|value| (text(&value["id"]), value)).collect()
}

/// One toolchain builds with its own library only. Clippy (`incompatible_msrv`) finds what is newer in this workspace; this
/// finds dependencies that need a newer compiler.
#[test]
fn no_dependency_needs_a_newer_compiler_than_the_manifest_says() {
    let metadata = metadata();
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let mut reached: Vec<&str> = published(&metadata).map(|package| text(&package["id"])).collect();
    let ours = version(text(&packages[reached[0]]["rust_version"]));
    let mut at = 0;
    while let Some(id) = reached.get(at) {
        let package = packages[id];
        if let Some(needs) = package["rust_version"].as_str() {
            assert!(version(needs) <= ours, "{} {} needs Rust {needs}", package["name"], package["version"]);
        }
        for dependency in list(&nodes[id]["deps"]) {
            let is_compiled_in = list(&dependency["dep_kinds"]).iter().any(|of| of["kind"] != "dev");
            let id = text(&dependency["pkg"]);
            if is_compiled_in && !reached.contains(&id) {
                reached.push(id);
            }
        }
        at += 1;
    }
    assert!(at > 50, "{at} packages were looked at");
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(version("1.100") > version("1.88.0") && version("1.88") == version("1.88.0"));
}
