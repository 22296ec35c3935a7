//! Writes the seeds of every target, made from the golden vectors, below the folder given.
//!
//! Invariant: it fails if there is an API, version and direction of which no seed decodes: a decoder
//! would be fuzzed from nothing. `RSKAFKA_GOLDEN` says where the vectors are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rskafka_fuzz::messages::{Kind, kinds, request, response};
use rskafka_fuzz::{decompress, scram};
use rskafka_protocol::records::Attributes;
use serde_json::Value;

#[path = "../../../crates/rskafka-protocol/tests/golden/data.rs"]
mod golden;

/// Larger seeds make each run slow and reach nothing that a smaller one does not.
const LARGEST: usize = 4 * 1024;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: seeds FOLDER");
        return ExitCode::FAILURE;
    };
    let folder = Path::new(&folder);
    let missing = messages(folder);
    records(&["records", "legacy", "decompress"].map(|target| Seeds::new(folder, target)));
    scram_messages(&Seeds::new(folder, "scram"));
    if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether there is a kind of message of which no seed decodes.
fn messages(folder: &Path) -> bool {
    let requests = Seeds::new(folder, "requests");
    let responses = Seeds::new(folder, "responses");
    let frames = Seeds::new(folder, "frames");
    let all: BTreeSet<Kind> = kinds().collect();
    let mut decoded = BTreeSet::new();
    for (index, vector) in golden::lines("messages.jsonl").iter().enumerate() {
        let id = text(vector, "id");
        let frame = [golden::bytes(&vector["header_hex"]), golden::bytes(&vector["body_hex"])].concat();
        if text(vector, "type") == "request" {
            requests.write(id, &frame);
            decoded.extend(request(&frame));
        } else {
            let number = |field: &str| i16::try_from(vector[field].as_i64().unwrap()).unwrap().to_be_bytes();
            let seed = [&number("api_key")[..], &number("version"), &frame].concat();
            responses.write(id, &seed);
            decoded.extend(response(&seed));
        }
        if index % 50 == 0 {
            let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
            let stream = [&length[..], &frame, &length, &frame].concat();
            frames.write(id, &[&[3, 1, 60, 255], stream.as_slice()].concat());
        }
    }
    for direction in ["request", "response"] {
        let of_direction = |kinds: &BTreeSet<Kind>| kinds.iter().filter(|kind| kind.0 == direction).count();
        let (found, of) = (of_direction(&decoded), of_direction(&all));
        println!("{found} of {of} (API, version) decode a {direction} among the seeds");
    }
    let missing: Vec<_> = all.difference(&decoded).collect();
    for (direction, api_key, version) in &missing {
        println!("no seed decodes as {api_key} {direction} version {version}");
    }
    !missing.is_empty()
}

fn records([sets, legacy, streams]: &[Seeds; 3]) {
    for file in ["records.jsonl", "invalid.jsonl", "invalid_snappy_bomb.jsonl"] {
        for vector in golden::lines(file) {
            let (name, set) = (text(&vector, "name"), golden::bytes(&vector["hex"]));
            match set.get(16) {
                // A set that is compressed already can stand in another only by mistake: that is a seed too.
                Some(0 | 1) => (0..8).for_each(|mode| {
                    legacy.write(&format!("{name}-{mode}"), &[&[mode], set.as_slice()].concat());
                }),
                _ => sets.write(name, &set),
            }
            if let Some(seed) = stream(&set) {
                streams.write(name, &seed);
                // The same bytes once more, to be compressed.
                streams.write(&format!("{name}-again"), &[&[seed[0] | 0x80], &seed[1..]].concat());
            }
        }
    }
}

/// What is compressed in the first batch of a set, if it is of today's format.
fn stream(set: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = set.split_first_chunk::<61>()?;
    if header[16] != 2 {
        return None;
    }
    let length = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let payload = usize::try_from(length).ok()?.checked_sub(49)?;
    let attributes = Attributes(i16::from_be_bytes([header[21], header[22]]));
    decompress::seed(attributes, &rest[..payload.min(rest.len())])
}

fn scram_messages(seeds: &Seeds) {
    for (index, message) in scram::seeds().iter().enumerate() {
        seeds.write(&format!("right-{index}"), message);
    }
    for vector in golden::lines("scram.jsonl") {
        for (which, field) in
            ["client_first", "server_first", "client_final", "server_final"].iter().enumerate()
        {
            if let Some(message) = vector[field].as_str() {
                let seed = [&[which as u8], message.as_bytes()].concat();
                seeds.write(&format!("{}-{field}", text(&vector, "name")), &seed);
            }
        }
    }
}

/// The folder of one target's seeds.
struct Seeds(PathBuf);

impl Seeds {
    /// Empties it.
    fn new(folder: &Path, target: &str) -> Self {
        let folder = folder.join(target);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self(folder)
    }

    fn write(&self, name: &str, seed: &[u8]) {
        if seed.len() <= LARGEST {
            let file = self.0.join(name);
            fs::write(&file, seed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is text in {vector}"))
}
