//! Batches made for the comparison, most of them invalid, and what is compared of the batches that are read back.

use base64::Engine;
use bytes::{Bytes, BytesMut};
use rskafka_protocol::records::{
    Batch, BatchHeader, Compression, Flag, NewRecord, RecordBatch, RecordBatchBuilder, batches,
};
use serde_json::{Value, json};

/// The time of records, set to the wall clock so that Kafka takes it.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis() as i64
}

pub(crate) fn built(records: &[(i64, Option<&str>)]) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    for (timestamp, key) in records {
        let key = key.map(str::as_bytes);
        builder.push(NewRecord::new(*timestamp, key, Some(b"a value of some length"))).unwrap();
    }
    builder.build().unwrap()
}

/// Three records, compressed.
pub(crate) fn compressed(compression: Compression) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new();
    builder.set_compression(compression);
    for n in 0..3 {
        builder.push(NewRecord::new(now_ms() + n, Some(b"a"), Some(&[b'x'; 200]))).unwrap();
    }
    builder.build().unwrap()
}

/// Two records of now.
pub(crate) fn good() -> Bytes {
    let now = now_ms();
    built(&[(now, Some("a")), (now, Some("b"))]).into_bytes()
}

pub(crate) fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut batch = built(&[(now_ms(), Some("a")), (now_ms(), Some("b"))]);
    batch.update_header(change);
    batch.into_bytes()
}

pub(crate) fn with_byte(position: usize, byte: u8) -> Bytes {
    let mut bytes = BytesMut::from(&good()[..]);
    bytes[position] = byte;
    bytes.freeze()
}

/// Two records with an offset between them that has none.
pub(crate) fn with_gap() -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(now_ms(), Some(b"a"), Some(b"a"))).unwrap();
    builder.skip_offsets(1).unwrap();
    builder.push(NewRecord::new(now_ms(), Some(b"b"), Some(b"b"))).unwrap();
    builder.build().unwrap().into_bytes()
}

/// The same, but the header does not count that offset: last offset delta 1 and count 2.
pub(crate) fn with_hidden_gap() -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(now_ms(), Some(b"a"), Some(b"a"))).unwrap();
    builder.push(NewRecord::new(now_ms(), Some(b"b"), Some(b"b"))).unwrap();
    // The second record's offset delta is one byte (zigzag): 2 becomes 4.
    let mut batch = BytesMut::from(&builder.build().unwrap().into_bytes()[..]);
    let second = batch.len() - 9;
    let place = (second..batch.len()).find(|&place| batch[place] == 2).unwrap();
    batch[place] = 4;
    sealed(batch)
}

/// One record whose length is larger than the batch.
pub(crate) fn with_broken_record() -> Bytes {
    let mut batch = BytesMut::from(&built(&[(now_ms(), Some("a"))]).into_bytes()[..]);
    batch[61] = 0x7e;
    sealed(batch)
}

/// Gives a changed batch the CRC that belongs to it.
fn sealed(mut batch: BytesMut) -> Bytes {
    // CRC-32C, bit by bit: the batches here are small.
    let mut crc = !0u32;
    for &byte in &batch[21..] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    batch[17..21].copy_from_slice(&(!crc).to_be_bytes());
    batch.freeze()
}

/// Offsets, counts and sizes of the batches in an answer, and what is left of a cut one.
pub(crate) fn describe(base64: &str) -> Value {
    let bytes = Bytes::from(base64::engine::general_purpose::STANDARD.decode(base64).unwrap());
    let mut set = batches(&bytes);
    let mut found = Vec::new();
    for batch in set.by_ref() {
        let batch = batch.unwrap();
        found.push(json!({
            "baseOffset": batch.base_offset(),
            "lastOffset": batch.last_offset(),
            "records": batch.record_count(),
            "bytes": batch.size_in_bytes(),
            "leaderEpoch": batch.header().partition_leader_epoch,
            "isLogAppendTime": batch.header().attributes.has(Flag::LogAppendTime),
            "attributes": batch.header().attributes.0,
            "duration": duration(&batch),
        }));
    }
    json!({ "batches": found, "cut": set.leftover() })
}

/// How far the header's timestamps are apart, unless the broker's clock made them.
fn duration(batch: &Batch) -> Option<i64> {
    let is_own = !batch.header().attributes.has(Flag::LogAppendTime);
    is_own.then(|| batch.header().max_timestamp - batch.header().base_timestamp)
}
