//! The public API of each published crate is what `docs/public-api` lists, so that a change of it is seen in review.
//!
//! `cargo xtask lint` runs this, not `cargo test`: it takes rustdoc. With `WRITE_PUBLIC_API=1` it writes the listings.
//! rustdoc's JSON is no stable format, and each version of the crate that reads it reads one; another toolchain is told so.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::packages::{metadata, published, text};
use crate::{read, root};

/// What this version of `public-api` reads.
const FORMAT: u64 = 57;

/// What a line `impl Clone for …` and the like says already.
const OF_IMPL: [&str; 8] = [
    "::StructuralPartialEq for",
    "::clone(&self) ->",
    "::cmp(&self, &",
    "::default() ->",
    "::eq(&self, &",
    "::fmt(&self, &mut core::fmt::Formatter",
    "::hash<",
    "::partial_cmp(&self, &",
];

#[test]
#[ignore = "`cargo xtask lint` runs it"]
fn the_public_api_is_what_is_listed() {
    let metadata = metadata();
    let crates: Vec<&str> = published(&metadata).map(|package| text(&package["name"])).collect();
    // The target folder, wherever that is.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("public-api");
    rustdoc(target, &folder, &crates);
    let mut differences = String::new();
    for name in crates {
        let json = folder.join(format!("doc/{}.json", name.replace('-', "_")));
        let format = serde_json::from_str::<Value>(&fs::read_to_string(&json).unwrap()).unwrap();
        let format = format["format_version"].as_u64().unwrap();
        if format != FORMAT {
            println!(
                "   not compared: this rustdoc writes format {format}; with `cargo +1.95` it is {FORMAT}"
            );
            return;
        }
        let api = public_api::Builder::from_rustdoc_json(json).sorted(true);
        let api = api.omit_auto_trait_impls(true).omit_blanket_impls(true).build().unwrap();
        let lines = api.items().map(|item| format!("{item}\n"));
        let listing: String = lines.filter(|line| !OF_IMPL.iter().any(|of| line.contains(of))).collect();
        let file = format!("docs/public-api/{name}.txt");
        if std::env::var_os("WRITE_PUBLIC_API").is_some() {
            fs::write(root().join(&file), listing).unwrap();
        } else {
            write!(differences, "{}", changes(&file, &read(&file), &listing)).unwrap();
        }
    }
    assert!(
        differences.is_empty(),
        "the public API has changed:\n{differences}if that is wanted: \
         WRITE_PUBLIC_API=1 cargo test -p xtask --test pages public_api -- --ignored"
    );
}

/// Writes JSON below the folder, so that documentation in HTML stays where it is; all else that cargo builds is shared. Only
/// rustdoc is told that it may do what is not stable: told in the variables of cargo, it would have all dependencies built
/// again.
fn rustdoc(target: &Path, folder: &Path, crates: &[&str]) {
    let wrapper = target.join("tmp/rustdoc.sh");
    fs::write(&wrapper, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n").unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["doc", "--no-deps", "--all-features", "--target-dir"]).arg(folder);
    cargo.args(crates.iter().flat_map(|name| ["--package", name]));
    cargo.env("CARGO_BUILD_BUILD_DIR", target).env("RUSTDOC", &wrapper);
    cargo.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Lines that one of the two has and the other has not.
fn changes(file: &str, listed: &str, found: &str) -> String {
    let without = |of: &str, other: &str, sign: char| -> String {
        let lines = of.lines().filter(|line| !other.lines().any(|of_other| of_other == *line));
        lines.map(|line| format!("{file}: {sign} {line}\n")).collect()
    };
    without(listed, found, '-') + &without(found, listed, '+')
}

#[test]
fn a_line_that_is_gone_and_one_that_is_new_are_named() {
    assert_eq!(changes("a.txt", "pub a\npub b\n", "pub a\npub b\n"), "");
    assert_eq!(changes("a.txt", "pub a\npub b\n", "pub b\npub c\n"), "a.txt: - pub a\na.txt: + pub c\n");
}
