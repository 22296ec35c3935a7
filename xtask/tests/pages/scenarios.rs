//! Every test that `docs/scenarios.md` names exists: a list item `` - `file.rs::name` ``, the file below `crates`.

use std::fs;

use crate::{read, root};

#[test]
fn every_test_that_the_page_names_exists() {
    let source = |file: &str| fs::read_to_string(root().join("crates").join(file)).ok();
    assert_eq!(wrong(&read("docs/scenarios.md"), source), [""; 0]);
}

/// What is wrong with a page, given a way to its files.
fn wrong(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let mut tests =
            section.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`')).peekable();
        if tests.peek().is_none() {
            wrong.push(format!("no test for {}", section.lines().next().unwrap_or_default()));
        }
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap_or((test, ""));
            let exists = read(file).is_some_and(|text| text.contains(&format!("fn {name}(")));
            // Those of `refusals_at_the_door.rs` on real brokers are rows of a macro.
            let is_row = || read(file).is_some_and(|text| text.contains(&format!("\n    {name}: ")));
            if !exists && !is_row() {
                wrong.push(format!("there is no test {test}"));
            }
        }
    }
    wrong
}

#[test]
fn a_test_that_is_not_there_and_a_scenario_without_tests_are_named() {
    let page = "# Page\n\n## 1. First\n\n- `a.rs::one`\n- `a.rs::on`\n- `a.rs::row`\n- `b.rs::one`\n\n## 2. Second\n\ntext\n";
    let read = |file: &str| (file == "a.rs").then(|| "async fn one() {}\n    row: 1;\n".to_owned());
    let expected = ["there is no test a.rs::on", "there is no test b.rs::one", "no test for 2. Second"];
    assert_eq!(wrong(page, read), expected);
}
