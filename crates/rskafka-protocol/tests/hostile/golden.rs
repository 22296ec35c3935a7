//! Golden vectors with some bytes changed: the frames that a peer gone wrong would send.

use std::collections::BTreeMap;

use bytes::Bytes;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::records::{Decompressor, batches};
use rskafka_protocol::{Message, RequestHeader, ResponseHeader};

use crate::data;
use crate::{Random, allowed, peak};

/// Decodes a frame: header and body.
type Decode = fn(i16, &Bytes);

#[derive(Default)]
struct Decoders(BTreeMap<(i64, &'static str), Decode>);

impl Visitor for Decoders {
    fn visit<M: Message>(&mut self, direction: &'static str) {
        let decode: Decode = match direction {
            "request" => |version, frame| {
                if let Ok((_, body)) = RequestHeader::decode(frame) {
                    let _ = M::decode(version, &body);
                }
            },
            _ => |version, frame| {
                if let Ok((_, body)) = ResponseHeader::decode::<M>(version, frame) {
                    let _ = M::decode(version, &body);
                }
            },
        };
        self.0.insert((i64::from(M::API_KEY.0), direction), decode);
    }
}

/// Changes some bytes to what makes lengths and counts go wrong, and may cut the end.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => {
                let large = (random.below(1 << 31) as u32).to_be_bytes();
                bytes[at..].iter_mut().zip(large).for_each(|(byte, large)| *byte = large);
            }
            _ => bytes.truncate(at),
        }
    }
}

#[test]
fn changed_frames_stay_within_the_limit() {
    let mut decoders = Decoders::default();
    visit_all(&mut decoders);
    let mut random = Random(2);
    let mut tried = 0;
    for line in data::lines("messages.jsonl") {
        let direction = if line["type"] == "request" { "request" } else { "response" };
        let key = line["api_key"].as_i64().expect("an API key");
        let version =
            line["version"].as_i64().and_then(|version| version.try_into().ok()).expect("a version");
        let Some(decode) = decoders.0.get(&(key, direction)) else { continue };
        let frame = [data::bytes(&line["header_hex"]), data::bytes(&line["body_hex"])].concat();
        for _ in 0..30 {
            let mut frame = frame.clone();
            change(&mut frame, &mut random);
            let frame = Bytes::from(frame);
            let taken = peak(|| decode(version, &frame));
            assert!(taken <= allowed(frame.len()), "{} {version}: {taken}: {frame:?}", line["api"]);
            tried += 1;
        }
    }
    assert!(tried > 10_000, "only {tried} frames were tried");
}

/// Reads all records of a set, each compressed batch up to `limit` bytes.
fn read(set: &Bytes, limit: usize) {
    let mut decompressor = Decompressor::with_limit(limit);
    for batch in batches(set).with_decompression_limit(limit) {
        let Ok(batch) = batch else { return };
        let _ = batch.decompress(&mut decompressor);
        for record in batch.records().map_while(Result::ok) {
            record.headers.for_each(drop);
        }
    }
}

/// A batch's CRC, so that what is changed behind it is looked at.
fn repair(set: &mut [u8]) {
    if set.len() > 61 && set[16] == 2 {
        let length = u32::from_be_bytes([set[8], set[9], set[10], set[11]]) as usize;
        let end = (12 + length).clamp(21, set.len());
        let crc = crc32c::crc32c(&set[21..end]);
        set[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

#[test]
fn changed_record_sets_stay_within_the_limit() {
    const LIMIT: usize = 256 * 1024;
    let mut random = Random(3);
    let mut tried = 0;
    for line in data::lines("records.jsonl") {
        let set = data::bytes(&line["hex"]);
        for round in 0..40 {
            let mut set = set.clone();
            change(&mut set, &mut random);
            if round % 2 == 0 {
                repair(&mut set);
            }
            let set = Bytes::from(set);
            let taken = peak(|| read(&set, LIMIT));
            let limit = allowed(set.len()) + crate::bombs::decompressing(LIMIT);
            assert!(taken <= limit, "{}: {taken} of {limit}", line["name"]);
            tried += 1;
        }
    }
    assert!(tried >= 10_000, "only {tried} sets were tried");
}

#[test]
fn damaged_record_sets_stay_within_the_limit() {
    const LIMIT: usize = 1024 * 1024;
    let mut tried = 0;
    for name in ["invalid.jsonl", "invalid_snappy_bomb.jsonl"] {
        for line in data::lines(name) {
            let set = Bytes::from(data::bytes(&line["hex"]));
            let taken = peak(|| read(&set, LIMIT));
            let limit = crate::bombs::decompressing(LIMIT);
            assert!(taken <= limit, "{}: {taken} of {limit}", line["name"]);
            tried += 1;
        }
    }
    assert!(tried > 200, "only {tried} sets were tried");
}
