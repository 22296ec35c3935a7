//! The documentation of each public item that a feature brings names the feature, and that of each call says what becomes of it if
//! its future is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{read, root};

/// Rust files of a folder and of those below it, without their tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_code = |path: &PathBuf| path.file_stem().is_none_or(|stem| stem != "tests");
    paths.filter(is_code).flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The items under `#[cfg(feature = …)]`, and whether the documentation before that names a feature.
fn items(source: &str) -> Vec<(String, bool)> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_feature = |line: &str| line.starts_with("#[cfg(feature") || line.starts_with("#[cfg(any(feature");
    let at = (0..lines.len()).filter(|at| is_feature(lines[*at]));
    let item = |at: usize| {
        let item = lines[at..].iter().find(|line| !line.starts_with("#["))?.strip_prefix("pub ")?;
        // Those of which the documentation is elsewhere.
        let is_elsewhere = ["use ", "mod "].iter().any(|kind| item.starts_with(kind));
        let mut docs =
            lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        (!is_elsewhere)
            .then(|| (item.to_owned(), docs.any(|line| line.starts_with("/// Needs the feature `"))))
    };
    at.filter_map(item).collect()
}

#[test]
fn each_item_that_a_feature_brings_names_it() {
    let mut count = 0;
    for name in [
        "rskafka",
        "rskafka-client",
        "rskafka-cluster",
        "rskafka-fake",
        "rskafka-protocol",
        "rskafka-transport",
    ] {
        for file in sources(&root().join("crates").join(name).join("src")) {
            for (item, is_named) in items(&fs::read_to_string(&file).unwrap()) {
                assert!(is_named, "{}: {item}", file.display());
                count += 1;
            }
        }
    }
    assert!(count >= 9, "{count}");
}

/// What the facade has with a feature only, and is documented where it is defined.
#[test]
fn each_type_that_a_feature_brings_names_it() {
    let facade = read("crates/rskafka/src/lib.rs");
    let uses = facade
        .split("#[cfg(")
        .skip(1)
        .filter_map(|rest| rest.split_once("pub use rskafka_client::cluster::transport::"));
    let names =
        uses.flat_map(|(_, rest)| rest.split(';').next().unwrap().split([',', '{', '}']).map(str::trim));
    // Addresses are of use without a proxy too; rustls is another crate.
    let names: Vec<_> =
        names.filter(|name| !["", "rustls", "Endpoint", "ParseEndpointError"].contains(name)).collect();
    assert!(names.len() >= 8, "{names:?}");
    let files =
        ["rskafka-transport", "rskafka-protocol"].map(|name| root().join("crates").join(name).join("src"));
    let texts: Vec<_> = files
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for name in names {
        let definitions = ["struct", "enum", "trait"].map(|kind| format!("\npub {kind} {name}"));
        let is_end = |rest: &str| rest.starts_with([' ', '<', '(']);
        let docs = texts.iter().find_map(|text| {
            let mut found = definitions.iter().filter_map(|begin| text.split_once(begin.as_str()));
            let (before, _) = found.find(|(_, rest)| is_end(rest))?;
            before.rsplit("\n\n").next()
        });
        assert!(docs.is_some_and(|docs| docs.contains("/// Needs the feature `")), "{name}: {docs:?}");
    }
}

#[test]
fn each_call_says_what_dropping_its_future_does() {
    let mut count = 0;
    for name in ["rskafka-client", "rskafka-cluster", "rskafka-transport"] {
        for file in sources(&root().join("crates").join(name).join("src")) {
            let source = fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = source.lines().map(str::trim).collect();
            for at in (0..lines.len()).filter(|at| lines[*at].starts_with("pub async fn ")) {
                let docs = lines[..at]
                    .iter()
                    .rev()
                    .take_while(|line| line.starts_with("///") || line.starts_with("#["));
                let docs: Vec<&str> = docs.copied().collect();
                let says = ["ancel safe", "dropped", "Dropping"];
                let is_said = says.iter().any(|words| docs.iter().any(|line| line.contains(words)));
                assert!(is_said, "{}: {}", file.display(), lines[at]);
                count += 1;
            }
        }
    }
    assert!(count >= 30, "{count}");
}
