//! The seeds of every target, made from the golden vectors.
//!
//! Invariant: what is missing is said: an API, version and direction of which no seed decodes would have its decoder
//! fuzzed from nothing. `RSKAFKA_GOLDEN` says where other vectors are.

use std::collections::BTreeSet;

use rskafka_protocol::records::Attributes;
use serde_json::Value;

use crate::messages::{Kind, kinds, request, response};
use crate::{decompress, scram};

#[path = "../../rskafka-protocol/tests/golden/data.rs"]
mod golden;

/// Larger seeds make each run slow and reach nothing that a smaller one does not.
const LARGEST: usize = 4 * 1024;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// Unique within the target.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All seeds.
#[derive(Debug, Default)]
pub struct Seeds {
    /// In the order of the vectors.
    pub all: Vec<Seed>,
    /// The messages of which a seed decodes.
    pub decoded: BTreeSet<Kind>,
}

impl Seeds {
    /// Makes them.
    ///
    /// # Panics
    ///
    /// Panics if a golden vector is missing or is not what it should be.
    pub fn from_golden() -> Self {
        let mut seeds = Self::default();
        seeds.add_messages();
        seeds.add_records();
        seeds.add_scram();
        seeds
    }

    /// The messages of which no seed decodes.
    pub fn missing(&self) -> Vec<Kind> {
        kinds().filter(|kind| !self.decoded.contains(kind)).collect()
    }

    fn add(&mut self, target: &'static str, name: &str, bytes: Vec<u8>) {
        if bytes.len() <= LARGEST {
            self.all.push(Seed { target, name: name.to_owned(), bytes });
        }
    }

    fn add_messages(&mut self) {
        for (index, vector) in golden::lines("messages.jsonl").iter().enumerate() {
            let id = text(vector, "id");
            let frame = [golden::bytes(&vector["header_hex"]), golden::bytes(&vector["body_hex"])].concat();
            if index % 50 == 0 {
                let length = (frame.len() as i32).to_be_bytes();
                let stream = [&length[..], &frame, &length, &frame].concat();
                self.add("frames", id, [&[3, 1, 60, 255], stream.as_slice()].concat());
            }
            if text(vector, "type") == "request" {
                self.decoded.extend(request(&frame));
                self.add("requests", id, frame);
            } else {
                let number = |field: &str| {
                    let number = vector[field].as_i64().and_then(|number| i16::try_from(number).ok());
                    number.unwrap_or_else(|| panic!("{field} is a number in {vector}")).to_be_bytes()
                };
                let seed = [&number("api_key")[..], &number("version"), &frame].concat();
                self.decoded.extend(response(&seed));
                self.add("responses", id, seed);
            }
        }
    }

    fn add_records(&mut self) {
        for file in ["records.jsonl", "invalid.jsonl", "invalid_snappy_bomb.jsonl"] {
            for vector in golden::lines(file) {
                let (name, set) = (text(&vector, "name"), golden::bytes(&vector["hex"]));
                match set.get(16) {
                    // A set that is compressed already can stand in another only by mistake: that is a seed too.
                    Some(0 | 1) => (0..8).for_each(|mode| {
                        self.add("legacy", &format!("{name}-{mode}"), [&[mode], set.as_slice()].concat());
                    }),
                    _ => self.add("records", name, set.clone()),
                }
                if let Some(seed) = stream(&set) {
                    // The same bytes once more, to be compressed.
                    let again = [&[seed[0] | 0x80], &seed[1..]].concat();
                    self.add("decompress", &format!("{name}-again"), again);
                    self.add("decompress", name, seed);
                }
            }
        }
    }

    fn add_scram(&mut self) {
        for (index, message) in scram::seeds().into_iter().enumerate() {
            self.add("scram", &format!("right-{index}"), message);
        }
        let fields = ["client_first", "server_first", "client_final", "server_final"];
        for vector in golden::lines("scram.jsonl") {
            for (which, field) in (0u8..).zip(fields) {
                if let Some(message) = vector[field].as_str() {
                    let name = format!("{}-{field}", text(&vector, "name"));
                    self.add("scram", &name, [&[which], message.as_bytes()].concat());
                }
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

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is text in {vector}"))
}
