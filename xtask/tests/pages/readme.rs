//! The README's example is what the documentation shows and what the tests run.
//!
//! It is the first ```` ```rust ```` block of `README.md`. The same text must be
//! - the first code block in the `//!` documentation of `crates/rskafka/src/lib.rs` (lines hidden by `# ` left out), and
//! - in the tests below `crates/rskafka/tests`, every part between `// README example: begin` and `// README example: end`,
//!   of which there must be one at least.
//!
//! White space does not count, because rustfmt breaks lines in code but not in text; and the values of `connection` and
//! `topic` do not, because tests have their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::{read, root};

const MARK: &str = "README example";

/// Rust files of a folder and of those below it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn readme_documentation_and_tests_have_the_same_example() {
    let readme =
        first_block(&read("README.md"), |info| info == "rust").expect("README.md has no block of Rust");
    let lib = read("crates/rskafka/src/lib.rs");
    let docs: String =
        lib.lines().filter_map(|line| line.strip_prefix("//!")).map(|line| format!("{line}\n")).collect();
    same(&readme, &first_block(&docs, |_| true).expect("the documentation has no code")).unwrap();
    let mut count = 0;
    for path in files_below(&root().join("crates/rskafka/tests")) {
        for block in marked_blocks(&fs::read_to_string(&path).unwrap(), MARK).unwrap() {
            same(&readme, &block).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += 1;
        }
    }
    assert!(count > 0, "no test has a part marked as `{MARK}`");
}

/// The first fenced block whose info string is accepted, without the lines that rustdoc hides.
fn first_block(markdown: &str, accepts: impl Fn(&str) -> bool) -> Option<String> {
    let mut lines = markdown.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if accepts(info) {
            let hidden = |line: &&&str| **line == "#" || line.starts_with("# ");
            return Some(block.iter().filter(|line| !hidden(line)).map(|line| format!("{line}\n")).collect());
        }
    }
    None
}

/// What stands between `// {mark}: begin` and `// {mark}: end`.
pub(crate) fn marked_blocks(source: &str, mark: &str) -> Result<Vec<String>> {
    let [begin, end] = ["begin", "end"].map(|word| format!("// {mark}: {word}"));
    let parts = source.split(&begin).skip(1);
    parts
        .map(|part| match part.split_once(&end) {
            Some((block, _)) => Ok(block.to_owned()),
            None => bail!("`{begin}` without `{end}`"),
        })
        .collect()
}

pub(crate) fn same(expected: &str, found: &str) -> Result<()> {
    let (expected, found) = (normalized(expected), normalized(found));
    let at = expected.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    let excerpt = |text: &str| text.chars().skip(at.saturating_sub(20)).take(60).collect::<String>();
    ensure!(expected == found, "differ near\n    {}\n    {}", excerpt(&expected), excerpt(&found));
    Ok(())
}

/// Without white space, and with the values that differ between README and tests replaced by `_`.
fn normalized(block: &str) -> String {
    let mut text = String::new();
    for line in block.lines().map(str::trim) {
        let replaced = ["let connection = ", "let topic = "]
            .iter()
            .find(|start| line.starts_with(**start) && line.ends_with(';'));
        text += replaced.copied().map_or(line, |start| start);
        if replaced.is_some() {
            text += "_;";
        }
    }
    text.split_whitespace().collect()
}

/// What a README may be.
const README: &str = "\
# Title
```toml
rskafka = \"0\"
```
```rust
use rskafka::client::Client;

let connection = \"localhost:9093\".to_owned();
let topic = \"my_topic\";
client.create_topic(topic, 2 /* partitions */).await.unwrap();
```
";

fn readme() -> String {
    first_block(README, |info| info == "rust").unwrap()
}

#[test]
fn a_doc_test_with_hidden_lines_is_the_same() {
    let docs = "```no_run\n# async fn f() {\n use rskafka::client::Client;\n let connection = \"localhost:9093\".to_owned();\n\
        let topic = \"my_topic\";\n#\n client.create_topic(topic, 2 /* partitions */).await.unwrap();\n# }\n```\n";
    same(&readme(), &first_block(docs, |_| true).unwrap()).unwrap();
}

#[test]
fn a_test_with_its_own_address_and_other_line_breaks_is_the_same() {
    let test = "fn t() {\n    // README example: begin\n    use rskafka::client::Client;\n    let connection = cluster.address();\n    \
        let topic = topic_name;\n    client\n        .create_topic(topic, 2 /* partitions */)\n        .await\n        .unwrap();\n    \
        // README example: end\n}\n";
    let blocks = marked_blocks(test, MARK).unwrap();
    assert_eq!(blocks.len(), 1);
    same(&readme(), &blocks[0]).unwrap();
}

#[test]
fn another_word_is_found() {
    let other = readme().replace("2 /* partitions */", "3 /* partitions */");
    let error = same(&readme(), &other).unwrap_err().to_string();
    assert!(error.contains("3/*partitions*/"), "{error}");
    assert!(same(&readme(), "").is_err());
}

#[test]
fn a_block_that_does_not_end_is_found() {
    assert!(marked_blocks("// README example: begin\nlet x;", MARK).is_err());
}
