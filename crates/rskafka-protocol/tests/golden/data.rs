//! Where the vectors are, and how they are read; the unit tests of the crate and rskafka-fuzz, a folder beside it, use it too.
//!
//! Invariant: a file that is missing or is not what it should be ends the test.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The vectors of a `.jsonl` file, one JSON object per line. The file may be compressed (`.gz`).
pub(crate) fn lines(name: &str) -> Vec<Value> {
    let text = text(name);
    let parse =
        |(index, line)| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}:{}: {e}", index + 1));
    text.lines().filter(|line| !line.trim().is_empty()).enumerate().map(parse).collect()
}

/// A whole file.
pub(crate) fn text(name: &str) -> String {
    let path = directory().join(name);
    let zipped = directory().join(format!("{name}.gz"));
    let mut text = String::new();
    let read = if zipped.exists() {
        let file = std::fs::File::open(&zipped).expect("the file can be opened");
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text)
    } else {
        std::fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

fn directory() -> PathBuf {
    match std::env::var_os("RSKAFKA_GOLDEN") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../rskafka-protocol/tests/golden/data"),
    }
}

/// The bytes of a hex string.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex is a string").as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    assert!(hex.len().is_multiple_of(2), "hex has two digits a byte");
    hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
