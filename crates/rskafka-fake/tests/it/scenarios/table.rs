//! The situations in `docs/fake.md`.

use std::path::Path;

/// Those that a test of the fake shows.
const SHOWN: [usize; 16] = [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 18, 25, 28];

/// The texts between backticks that are `module::name_of_a_test`.
fn tests(section: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = section.split('`').skip(1).step_by(2);
    let is_module = |module: &str| module.chars().all(|c| c.is_ascii_lowercase());
    quoted.filter_map(|text| text.split_once("::")).filter(move |(module, _)| is_module(module))
}

#[test]
fn every_test_of_the_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/fake.md")).unwrap();
    for number in 1..=29 {
        let section = page.split("\n### ").find(|section| section.starts_with(&format!("{number}. ")));
        let section = section.unwrap_or_else(|| panic!("no section {number}"));
        let mut count = 0;
        for (module, name) in tests(section) {
            let file = root.join(format!("tests/it/scenarios/{module}.rs"));
            let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            let place = source.find(&format!("async fn {name}()"));
            let before = &source[..place.unwrap_or_else(|| panic!("{number}: no test {module}::{name}"))];
            let attribute = before.lines().last().unwrap_or_default();
            assert!(attribute.starts_with("#[tokio::test"), "{name} is no test: {attribute}");
            let body = &source[before.len()..];
            let body = &body[..body.find("\n}\n").unwrap()];
            assert!(body.contains("for profile in Profile::ALL"), "{name} does not run in every profile");
            count += 1;
        }
        assert!(count > 0 || !SHOWN.contains(&number), "no test shows {number}");
    }
}
