//! The example of docs/testing-your-code.md runs, and is what the page shows.

#[path = "testing_your_code/recovery.rs"]
mod recovery;

#[test]
fn the_page_shows_the_example_that_runs() {
    let page = include_str!("../../../docs/testing-your-code.md");
    let example = include_str!("testing_your_code/recovery.rs");
    assert!(page.contains(&format!("```rust\n{example}```\n")), "docs/testing-your-code.md has another text");
}
