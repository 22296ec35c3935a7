//! Damaged record sets: each gives the class of error that golden names.

use bytes::Bytes;
use rskafka_protocol::records::{BatchError, BatchErrorKind, batches};

use crate::data;
use crate::tally::{Tally, same};

#[test]
fn every_damaged_record_set_gives_the_class_of_error_named() {
    let mut tally = Tally::new("damaged record sets", &["found", "corrupt", "unsupported", "truncated"]);
    let mut vectors = data::lines("invalid.jsonl");
    vectors.extend(data::lines("invalid_snappy_bomb.jsonl"));
    for vector in vectors {
        tally.count("found");
        let name = vector["name"].as_str().expect("a name");
        let expect = vector["expect"].as_str().expect("a class");
        let bytes = Bytes::from(data::bytes(&vector["hex"]));
        let outcome = read(&bytes);
        let class = match &outcome {
            Err(error) => match error.kind {
                BatchErrorKind::Corrupt(_) => "corrupt",
                BatchErrorKind::Unsupported(_) => "unsupported",
                _ => "too large",
            },
            Ok(0) => "right",
            Ok(_) => "truncated",
        };
        if !["corrupt", "unsupported", "truncated"].contains(&expect) {
            tally.fail(format!("{name}: unknown class {expect}"));
        } else if vector["may_accept"] == true {
            tally.leave_out(format!("that may be accepted: {class} for {expect}"));
        } else {
            tally.check(expect, name, same("class", class, expect));
        }
    }
    tally.end();
}

/// Reads all of a set and gives its leftover.
fn read(set: &Bytes) -> Result<usize, BatchError> {
    let mut read = batches(set);
    for batch in read.by_ref() {
        for record in batch?.records() {
            record?.headers.for_each(drop);
        }
    }
    Ok(read.leftover())
}
