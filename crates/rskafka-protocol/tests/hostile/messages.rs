//! Every message and version, both directions: what a frame may cost.

use bytes::Bytes;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{Encoder, Message, StructSchema};

use crate::craft::{Large, Layout, put_unsigned};
use crate::{allowed, peak};

/// The bytes that a large array is given.
const ROOM: usize = 16 * 1024;

/// Decodes and encodes a body, and says whether it was one.
type Decode = fn(i16, &Bytes) -> bool;

/// A message type.
struct Spoken {
    name: &'static str,
    versions: std::ops::RangeInclusive<i16>,
    is_flexible: fn(i16) -> bool,
    schema: &'static StructSchema,
    decode: Decode,
}

#[derive(Default)]
struct All(Vec<Spoken>);

impl Visitor for All {
    fn visit<M: Message>(&mut self, _: &'static str) {
        self.0.push(Spoken {
            name: M::NAME,
            versions: M::VERSIONS.min..=M::VERSIONS.max,
            is_flexible: M::is_flexible,
            schema: M::SCHEMA,
            decode: |version, body| match M::decode(version, body) {
                Ok(message) => {
                    // What decodes can be encoded, at no greater cost.
                    message.encode(version, &mut Encoder::new()).expect("what decodes can be encoded");
                    true
                }
                Err(_) => false,
            },
        });
    }
}

/// Runs `check` for each message and version; it gives what it has tried.
fn each_version(check: impl Fn(&Spoken, Layout) -> usize) {
    let mut all = All::default();
    visit_all(&mut all);
    let mut tried = 0;
    for message in &all.0 {
        for version in message.versions.clone() {
            tried += check(message, Layout { version, is_flexible: (message.is_flexible)(version) });
        }
    }
    assert!(tried > 100, "only {tried} bodies were tried");
}

/// Decodes a body within the limit.
fn decode(message: &Spoken, layout: Layout, body: Vec<u8>, what: &str) -> bool {
    let body = Bytes::from(body);
    let mut decoded = false;
    let taken = peak(|| decoded = (message.decode)(layout.version, &body));
    let Layout { version, .. } = layout;
    let limit = allowed(body.len());
    assert!(taken <= limit, "{} {version}: {what}: {taken} of {limit} bytes", message.name);
    decoded
}

#[test]
fn arrays_of_the_smallest_elements_stay_within_the_limit() {
    each_array_stays_within_the_limit(&Large::Elements(ROOM));
}

#[test]
fn arrays_of_the_smallest_elements_within_each_other_stay_within_the_limit() {
    each_array_stays_within_the_limit(&Large::Nested(ROOM));
}

/// Decodes each message and version once for each of its arrays, made as large as that.
fn each_array_stays_within_the_limit(large: &Large) {
    each_version(|message, layout| {
        let arrays = layout.arrays(message.schema);
        for path in &arrays {
            let body = layout.write(message.schema, path, large);
            assert!(body.len() > ROOM / 2);
            let is_decoded = decode(message, layout, body, &format!("array {path:?}"));
            assert!(is_decoded, "{} {}: {path:?} is no message", message.name, layout.version);
        }
        arrays.len()
    });
}

#[test]
fn arrays_that_claim_more_than_there_is_stay_within_the_limit() {
    each_version(|message, layout| {
        let arrays = layout.arrays(message.schema);
        for path in &arrays {
            // 0xff ends most elements at once: what counts is what was reserved for all of them.
            for (filler, length, sizes) in [(0xff, ROOM, 1..=40), (0, 4096, 1..=4), (1, 4096, 1..=4)] {
                let filler = vec![filler; length];
                let some = sizes.map(|size| length as u32 / size);
                for count in some.chain([1 << 16, i32::MAX as u32, u32::MAX - 1]) {
                    let body = layout.write(message.schema, path, &Large::Claim(count, filler.clone()));
                    decode(message, layout, body, &format!("{count} claimed at {path:?}"));
                }
            }
        }
        arrays.len()
    });
}

#[test]
fn arrays_that_claim_the_same_bytes_at_each_level_stay_within_the_limit() {
    each_version(|message, layout| {
        let arrays = layout.arrays(message.schema);
        for path in &arrays {
            let body = layout.write(message.schema, path, &Large::Claims(8 * ROOM));
            let is_decoded = decode(message, layout, body, &format!("claims on the way to {path:?}"));
            // Any bytes are numbers, and below version 3 this message is an array of them, and at most one
            // number behind it.
            let is_numbers = message.name == "ApiVersionsResponse" && layout.version < 3;
            assert_eq!(is_decoded, is_numbers, "{} {}: {path:?}", message.name, layout.version);
        }
        arrays.len()
    });
}

#[test]
fn tagged_fields_stay_within_the_limit() {
    each_version(|message, layout| {
        if !layout.is_flexible {
            return 0;
        }
        let empty = |tag| {
            // Each is a tag and the length 0.
            let mut tags = Vec::new();
            put_unsigned((ROOM / 2) as u64, &mut tags);
            (0..ROOM / 2).for_each(|_| {
                put_unsigned(tag, &mut tags);
                put_unsigned(0, &mut tags);
            });
            tags
        };
        // Tags that nobody knows are skipped, also when they repeat.
        assert!(decode(message, layout, layout.write_tags(message.schema, &empty(100)), "unknown tags"));
        decode(message, layout, layout.write_tags(message.schema, &empty(0)), "empty tags");
        let mut claim = Vec::new();
        put_unsigned(u64::from(u32::MAX), &mut claim);
        decode(message, layout, layout.write_tags(message.schema, &claim), "a count of tags");
        put_unsigned(0, &mut claim);
        put_unsigned(u64::from(u32::MAX), &mut claim);
        decode(message, layout, layout.write_tags(message.schema, &claim), "a size of a tag");
        4
    });
}

#[test]
fn tagged_fields_that_repeat_stay_within_the_limit() {
    each_version(|message, layout| {
        let known = message.schema.fields.iter().enumerate().filter(|(_, field)| field.tag.is_some());
        let mut tried = 0;
        for (index, field) in known {
            let way = layout.arrays(message.schema).into_iter().find(|path| path[0] == index);
            let Some(way) = way else { continue };
            let mut value = Vec::new();
            layout.put_field(field, Some((&way[1..], &Large::Elements(ROOM / 4))), 0, &mut value);
            let mut tags = vec![4];
            for _ in 0..4 {
                put_unsigned(u64::from(field.tag.expect("a tag")), &mut tags);
                put_unsigned(value.len() as u64, &mut tags);
                tags.extend(&value);
            }
            let body = layout.write_tags(message.schema, &tags);
            assert!(decode(message, layout, body, "a tag four times"));
            tried += 100;
        }
        tried
    });
}

#[test]
fn random_bytes_stay_within_the_limit() {
    let mut random = crate::Random(1);
    let bytes: Vec<u8> = (0..64 * 1024).map(|_| random.next() as u8).collect();
    // Small numbers are what lengths look like.
    let small: Vec<u8> = bytes.iter().map(|byte| byte & 3).collect();
    each_version(|message, layout| {
        for length in [0, 1, 2, 3, 5, 8, 100, 1000, 10_000] {
            for bytes in [&bytes, &small] {
                let from = usize::from(bytes[length]) * 97;
                decode(message, layout, bytes[from..from + length].to_vec(), "random");
            }
        }
        18
    });
}
