//! The facade's examples are short, name their arguments, and are run by the tests.

use std::fs;

use crate::{read, root};

/// Lines of code that an example may have, without blank lines and comments.
const MOST_LINES: usize = 79;

#[test]
fn each_example_is_short_and_is_run_by_the_tests() {
    let tests = read("crates/rskafka/tests/common/examples.rs");
    let paths =
        fs::read_dir(root().join("crates/rskafka/examples")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths.filter(|path| path.is_file()).collect();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        let lines = code.count();
        assert!(lines <= MOST_LINES, "{name} has {lines} lines");
        assert!(text.contains(&format!("`cargo run --example {name}")), "{name} does not say how to run it");
        assert!(tests.contains(&format!("\"{name}\" => {name}::run(")), "no test runs {name}");
    }
}
