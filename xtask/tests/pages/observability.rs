//! `docs/observability.md` has each event that the client logs.

use std::fs;
use std::path::Path;

use crate::{read, root};

/// Rust files of a folder and of those below it, without their tests.
fn sources(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_code = |path: &Path| path.file_stem().is_none_or(|stem| stem != "tests");
    let files = paths.filter(|path| is_code(path)).flat_map(|path| {
        if path.is_dir() { sources(&path) } else { vec![fs::read_to_string(path).unwrap()] }
    });
    files.collect()
}

/// The messages of the events in a source: the only text in each call.
fn messages(source: &str) -> Vec<String> {
    let levels = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
    let calls = levels.iter().flat_map(|level| source.split(level).skip(1));
    calls.map(|call| call.split('"').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn the_page_has_each_event() {
    let page = read("docs/observability.md");
    let crates = ["rskafka-client", "rskafka-cluster", "rskafka-transport"];
    let files = crates.iter().flat_map(|name| sources(&root().join("crates").join(name).join("src")));
    let messages: Vec<_> = files.flat_map(|source| messages(&source)).collect();
    assert!(messages.len() >= 9, "{messages:?}");
    for message in messages {
        let begin = message.split(':').next().unwrap();
        assert!(page.contains(&format!("| `{begin}` |")), "there is no event {begin:?}");
    }
}
