//! Every link of a page leads to a file that is there, and its anchor to a heading of it. A test that a link names is in its
//! file. Each page of `docs` is in the book, and its blocks of Rust are compiled.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{read, root};

/// Folders that are not the project's to document.
const PASSED_OVER: [&str; 4] = ["target", "corpus", "artifacts", "node_modules"];

/// All pages, by their paths below the root.
fn pages() -> Vec<String> {
    let mut folders = vec![root()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !PASSED_OVER.contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    pages
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 20, "{pages:?}");
    let wrong: Vec<_> =
        pages.iter().flat_map(|page| wrong_links(page, &read(page), &|path| found(&path))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text of a file, empty for a folder and for what is no text; `None` if there is none.
fn found(path: &Path) -> Option<String> {
    let path = root().join(path);
    path.exists().then(|| fs::read_to_string(path).unwrap_or_default())
}

/// What is wrong with the links of a page.
fn wrong_links(page: &str, text: &str, found: &impl Fn(PathBuf) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in outside_of_code(text) {
        for (shown, target) in links(line) {
            if target.starts_with("http") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path: PathBuf = if file.is_empty() { page.into() } else { resolve(page, file) };
            let is_left = page.starts_with("docs/") && !path.starts_with("docs");
            let problem = match found(path) {
                None => Some("there is no such file"),
                // The book takes it for a page of its own.
                Some(_) if is_left && file.ends_with(".md") => {
                    Some("the book has no such page: lead to its folder")
                }
                Some(text) if !anchor.is_empty() && !anchors(&text).contains(anchor) => {
                    Some("it has no such heading")
                }
                Some(text)
                    if is_test(shown, file)
                        && !text.contains(&format!("fn {}(", shown.trim_matches('`'))) =>
                {
                    Some("it has no such test")
                }
                Some(_) => None,
            };
            wrong.extend(problem.map(|problem| format!("{page}: [{shown}]({target}): {problem}")));
        }
    }
    wrong
}

/// The lines that are not in a fenced block.
fn outside_of_code(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The links of a line: what they show, and their targets. Those within code are none.
fn links(line: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for (at, _) in line.match_indices("](") {
        let (before, after) = (&line[..at], &line[at + 2..]);
        // Code within what is shown is closed; code around the link is not.
        let is_in_code = before.matches('`').count() % 2 == 1;
        if let (Some(start), Some(end), false) = (before.rfind('['), after.find(')'), is_in_code) {
            links.push((&before[start + 1..], &after[..end]));
        }
    }
    // Drawings that go by the reader's colours.
    for attribute in [" src=\"", " srcset=\""] {
        let targets = line.split(attribute).skip(1).filter_map(|rest| rest.split_once('"'));
        links.extend(targets.map(|(target, _)| ("a drawing", target)));
    }
    links
}

/// Whether a link shows the name of a test: a function, in code, in a file of Rust in a folder of tests.
fn is_test(shown: &str, file: &str) -> bool {
    let name = shown.strip_prefix('`').and_then(|shown| shown.strip_suffix('`'));
    let is_name = |name: &str| {
        name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    file.contains("tests/") && file.ends_with(".rs") && name.is_some_and(is_name)
}

/// A path as it stands in a page, below the root.
fn resolve(page: &str, file: &str) -> PathBuf {
    let mut path = Path::new(page).parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file).components() {
        match part.as_os_str().to_str() {
            Some("..") => {
                // Above the root there is nothing to link to.
                if !path.pop() {
                    path.push("outside");
                }
            }
            Some(".") => {}
            _ => path.push(part),
        }
    }
    path
}

/// The anchors of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts = HashMap::<String, usize>::new();
    let headings = outside_of_code(text).filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let slug = slug(heading.trim_start_matches('#').trim());
            let count = counts.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        })
        .collect()
}

fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn the_book_has_every_page() {
    let summary = read("docs/SUMMARY.md");
    for page in
        pages().iter().filter_map(|page| page.strip_prefix("docs/")).filter(|page| *page != "SUMMARY.md")
    {
        assert!(summary.contains(&format!("({page})")), "docs/SUMMARY.md does not have {page}");
    }
}

#[test]
fn every_block_of_rust_is_compiled() {
    let compiled = read("crates/rskafka/src/tests.rs");
    let mut count = 0;
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        let text = read(page);
        let blocks = text.lines().filter_map(|line| line.trim().strip_prefix("```rust")).collect::<Vec<_>>();
        assert!(
            blocks.iter().all(|info| !info.contains("ignore")),
            "{page} has a block that is not compiled"
        );
        let is_compiled = compiled.contains(&format!("include_str!(\"../../../{page}\")"));
        assert!(blocks.is_empty() || is_compiled, "crates/rskafka/src/tests.rs does not have {page}");
        count += blocks.len();
    }
    assert!(count >= 10, "{count}");
    // The README's only one is compared with those that are compiled.
    assert_eq!(read("README.md").matches("```rust").count(), 1);
}

#[test]
fn wrong_links_are_named() {
    let page = "\
# A page
[a](b.md) [b](b.md#what-it-is) [c](../b.md) [self](#a-page) [web](http://host/) `[no](link.md)`
[d](b.md#what) [e](../../b.md), [`a_test`](tests/t.rs) and [`no_test`](tests/t.rs), not [`Type`](tests/t.rs) or [`tests/t.rs`](tests/t.rs)
```text
[f](nothing.md)
```
<source media=\"m\" srcset=\"no.svg\"> <img src=\"b.md\">
";
    let found = |path: PathBuf| match path.to_str()? {
        "docs/a.md" => Some(page.to_owned()),
        "docs/b.md" | "b.md" => Some("# B\n## What *it* is?\n".to_owned()),
        "docs/tests/t.rs" => Some("async fn a_test() {}".to_owned()),
        _ => None,
    };
    let expected = [
        "docs/a.md: [c](../b.md): the book has no such page: lead to its folder",
        "docs/a.md: [d](b.md#what): it has no such heading",
        "docs/a.md: [e](../../b.md): there is no such file",
        "docs/a.md: [`no_test`](tests/t.rs): it has no such test",
        "docs/a.md: [a drawing](no.svg): there is no such file",
    ];
    assert_eq!(wrong_links("docs/a.md", page, &found), expected);
}

#[test]
fn anchors_are_those_that_renderers_make() {
    let text = "# One two: `three`\n## To add …\n## Same\n```text\n# Not one\n```\n## Same\n";
    let expected = ["one-two-three", "same", "same-1", "to-add-"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}
