//! The examples of docs/testing-your-code.md run, and are what the page shows.

#[path = "testing_your_code/exclusive.rs"]
mod exclusive;
#[path = "testing_your_code/recovery.rs"]
mod recovery;

#[test]
fn the_page_shows_the_examples_that_run() {
    let page = include_str!("../../../docs/testing-your-code.md");
    let (first, second) =
        (include_str!("testing_your_code/recovery.rs"), include_str!("testing_your_code/exclusive.rs"));
    for example in [first, second] {
        let is_shown = page.contains(&format!("```rust\n{example}```\n"));
        assert!(is_shown, "docs/testing-your-code.md has another text");
    }
}
