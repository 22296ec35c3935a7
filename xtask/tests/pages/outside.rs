//! A crate outside of this workspace, as a user's is, with the examples of docs/testing-your-code.md as its tests. The
//! tests of rskafka-verifier run the examples.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{read, root};

/// What a user depends on, and no feature of it that only this workspace turns on.
const MANIFEST: &str = include_str!("outside.toml");

#[test]
fn the_examples_of_testing_your_code_compile_in_a_crate_of_a_user() {
    let page = read("docs/testing-your-code.md");
    let [first, second] = examples(&page).expect("the page has no two blocks of Rust");
    // Below the target folder, wherever that is.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("outside");
    for below in ["src", "tests"] {
        fs::create_dir_all(folder.join(below)).unwrap();
    }
    fs::write(folder.join("Cargo.toml"), MANIFEST.replace("ROOT", root().to_str().unwrap())).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    fs::write(folder.join("tests/recovery.rs"), first).unwrap();
    fs::write(folder.join("tests/exclusive.rs"), second).unwrap();
    // The versions that all else was tested with, and that are there without a network.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--tests"]).current_dir(&folder).env("CARGO_TARGET_DIR", target);
    // Else ring's build script sees that they have changed, and ring is built again, here and then for the other tests.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The first two blocks of Rust.
fn examples(page: &str) -> Option<[&str; 2]> {
    let mut blocks = page.split("```rust\n").skip(1).map(|rest| Some(rest.split_once("```\n")?.0));
    Some([blocks.next()??, blocks.next()??])
}

#[test]
fn the_blocks_of_a_page_are_found() {
    let page = "a\n```toml\nx\n```\n\n```rust\nfn f() {}\n```\nb\n```rust\nfn g() {}\n```\n";
    assert_eq!(examples(page), Some(["fn f() {}\n", "fn g() {}\n"]));
    assert_eq!(examples("```rust\none\n```\n"), None);
}
