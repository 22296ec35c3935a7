//! Record sets: each decodes to its batches and records, and is written again byte for byte.

use bytes::Bytes;
use rskafka_protocol::records::{
    Attributes, Batch, BatchHeader, Compression, Flag, NewRecord, RecordBatch, RecordBatchBuilder,
    RecordView, batches,
};
use serde_json::{Value, json};

use crate::data;
use crate::tally::{Tally, same};

#[test]
fn every_record_set_decodes_to_its_json_and_is_written_again() {
    let mut tally = Tally::new("record sets", &["found", "decoded", "encoded", "compressed anew"]);
    for set in data::lines("records.jsonl") {
        tally.count("found");
        let name = set["name"].as_str().expect("a name");
        match left_out(&set) {
            Ok(None) => {}
            Ok(Some(rule)) => {
                match refused(&set) {
                    Ok(()) => tally.leave_out(rule),
                    Err(failure) => tally.fail(format!("{name}: {failure}")),
                }
                continue;
            }
            Err(unknown) => {
                tally.fail(format!("{name}: {unknown}"));
                continue;
            }
        }
        tally.check("decoded", name, decode(&set));
        match not_encoded(&set) {
            Some(COMPRESSED) => tally.check("compressed anew", name, compress(&set)),
            Some(rule) => tally.leave_out(format!("from encoding only: {rule}")),
            None => tally.check("encoded", name, encode(&set)),
        }
    }
    tally.end();
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect("an array")
}

/// The rule by which a set is not read; an error for what no rule knows.
fn left_out(set: &Value) -> Result<Option<String>, String> {
    let mut rule = None;
    for batch in array(set, "batches") {
        let compression = compression(batch)?;
        match batch["magic"].as_i64() {
            Some(0..=2) if compression.is_supported() => {}
            Some(0..=2) => rule = Some(format!("with codec {compression}")),
            magic => return Err(format!("unknown magic {magic:?}")),
        }
    }
    Ok(rule)
}

fn compression(batch: &Value) -> Result<Compression, String> {
    let codec = batch["codec"].as_str().unwrap_or_default();
    let compression = Compression::ALL.into_iter().find(|compression| compression.name() == codec);
    compression.ok_or_else(|| format!("unknown codec {codec}"))
}

/// What is left out must say so: reading it ends in an error of that kind.
fn refused(set: &Value) -> Result<(), String> {
    match decode(set) {
        Err(error) if error.contains("unsupported: ") => Ok(()),
        other => Err(format!("should be unsupported, but gives {other:?}")),
    }
}

const COMPRESSED: &str = "compressed";

/// The rule by which a set is not written again: golden's stated exceptions, and compressed batches,
/// of which the bytes may differ.
fn not_encoded(set: &Value) -> Option<&'static str> {
    let name = set["name"].as_str().unwrap_or_default();
    let case = name.splitn(3, '-').nth(2).unwrap_or_default();
    let is = |key: &str, value: &str| array(set, "batches").iter().any(|batch| batch[key] == value);
    if case.starts_with("attributes_") {
        return Some("attributes without a meaning");
    }
    if case == "record_attributes_nonzero" {
        return Some("record attributes without a meaning");
    }
    if array(set, "batches").iter().any(|batch| batch["magic"] != 2) {
        return Some("of a format that is only read");
    }
    if is("timestamp_type", "log_append_time") {
        return Some("log append time, which hides the records' own");
    }
    array(set, "batches").iter().any(|batch| batch["codec"] != "none").then_some(COMPRESSED)
}

fn decode(set: &Value) -> Result<(), String> {
    let bytes = Bytes::from(data::bytes(&set["hex"]));
    let mut read = batches(&bytes);
    let mut golden_batches = array(set, "batches").iter();
    let mut golden_records = array(set, "records").iter();
    for batch in read.by_ref() {
        let batch = batch.map_err(|error| error.to_string())?;
        let golden = golden_batches.next().ok_or("a batch too many")?;
        same("batch", batch_json(&batch), golden.clone())?;
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            let golden = golden_records.next().ok_or("a record too many")?;
            same("record", record_json(&batch, &record)?, golden.clone())?;
        }
    }
    same("batches left", golden_batches.len(), 0)?;
    same("records left", golden_records.len(), 0)?;
    same("leftover", json!(read.leftover()), set["leftover_bytes"].clone())
}

fn batch_json(batch: &Batch) -> Value {
    let attributes = batch.header().attributes;
    let mut json = json!({
        "magic": batch.magic(),
        "codec": batch.compression().name(),
        "timestamp_type": match attributes.has(Flag::LogAppendTime) {
            _ if batch.magic() == 0 => "none",
            false => "create_time",
            true => "log_append_time",
        },
        "producer_id": batch.header().producer_id,
        "producer_epoch": batch.header().producer_epoch,
        "base_sequence": batch.header().base_sequence,
        "transactional": attributes.has(Flag::Transactional),
        "control": batch.is_control(),
        "partition_leader_epoch": batch.header().partition_leader_epoch,
        "base_offset": batch.base_offset(),
        "position": batch.position(),
        "size_in_bytes": batch.size_in_bytes(),
        "last_offset": batch.last_offset(),
        "max_timestamp": batch.header().max_timestamp,
        "crc": batch.crc(),
        "record_count": batch.record_count(),
    });
    if batch.magic() == 2 {
        json["base_timestamp"] = batch.header().base_timestamp.into();
        json["last_sequence"] = batch.header().last_sequence().into();
    }
    if attributes.has(Flag::DeleteHorizon) {
        json["delete_horizon_ms"] = batch.header().base_timestamp.into();
    }
    json
}

fn record_json(batch: &Batch, record: &RecordView<'_>) -> Result<Value, String> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let headers: Vec<Value> = record
        .headers
        .clone()
        .map(|(key, value)| json!([String::from_utf8_lossy(key), value.map(hex)]))
        .collect();
    // The owned form shares the batch's memory, and is the same.
    let value = record.value.map(|value| batch.slice(value));
    same("owned value", value.as_deref(), record.value)?;
    let mut json = json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key_hex": record.key.map(hex),
        "value_hex": record.value.map(hex),
        "headers": headers,
    });
    if batch.is_control() {
        // A version (2 bytes), then the type or the epoch of the transaction's coordinator.
        let coordinator_epoch = record.value.and_then(|value| value.get(2..)?.first_chunk());
        let coordinator_epoch = coordinator_epoch.map(|epoch| i32::from_be_bytes(*epoch));
        json["control_type"] = match record.key {
            Some([_, _, 0, control_type @ (0 | 1)]) => {
                json["coordinator_epoch"] = coordinator_epoch.into();
                ["ABORT", "COMMIT"][usize::from(*control_type)].into()
            }
            Some([_, _, 0, 2]) => "LEADER_CHANGE".into(),
            other => return Err(format!("{other:?} is not among golden's control types")),
        };
    }
    Ok(json)
}

/// Writes the set from its JSON alone. The part of a batch at its end is taken as it is.
fn encode(set: &Value) -> Result<(), String> {
    let golden = data::bytes(&set["hex"]);
    let mut written = write_batches(set)?;
    let leftover = usize::try_from(integer(set, "leftover_bytes")).expect("a length");
    written.extend_from_slice(&golden[golden.len() - leftover..]);
    same("set", written, golden)
}

/// Writes the set with our own codecs, of which the bytes may differ, and reads it again.
fn compress(set: &Value) -> Result<(), String> {
    let written = write_batches(set)?.into();
    let mut read = Vec::new();
    for (batch, golden) in batches(&written).zip(array(set, "batches")) {
        let batch = batch.map_err(|error| error.to_string())?;
        same("codec", batch.compression().name(), golden["codec"].as_str().expect("a codec"))?;
        for record in batch.records() {
            read.push(record_json(&batch, &record.map_err(|error| error.to_string())?)?);
        }
    }
    same("records", read.as_slice(), array(set, "records"))
}

fn write_batches(set: &Value) -> Result<Vec<u8>, String> {
    let mut written = Vec::new();
    let mut records = array(set, "records").iter();
    for batch in array(set, "batches") {
        let count = usize::try_from(integer(batch, "record_count")).expect("a count");
        let of_batch: Vec<&Value> = records.by_ref().take(count).collect();
        written.extend_from_slice(build(batch, &of_batch)?.bytes());
    }
    Ok(written)
}

fn build(batch: &Value, records: &[&Value]) -> Result<RecordBatch, String> {
    let header = header(batch);
    if records.is_empty() {
        return Ok(RecordBatch::without_records(header));
    }
    let full = |error: rskafka_protocol::records::BatchFull| error.to_string();
    let mut builder = RecordBatchBuilder::new();
    builder.set_header(header).map_err(full)?;
    // Offsets relative to the base that come before `end` and have no record.
    let mut ended = 0;
    let mut skip_until = |builder: &mut RecordBatchBuilder, end: i64| {
        let gap = u32::try_from(end - ended).expect("offsets ascend");
        ended = end + 1;
        builder.skip_offsets(gap).map_err(full)
    };
    for record in records {
        skip_until(&mut builder, integer(record, "offset") - header.base_offset)?;
        let nullable = |hex: &Value| (!hex.is_null()).then(|| data::bytes(hex));
        let (key, value) = (nullable(&record["key_hex"]), nullable(&record["value_hex"]));
        let headers: Vec<(&str, Option<Vec<u8>>)> = array(record, "headers")
            .iter()
            .map(|header| (header[0].as_str().expect("a header's key"), nullable(&header[1])))
            .collect();
        let record = NewRecord::new(integer(record, "timestamp"), key.as_deref(), value.as_deref())
            .headers(headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())));
        let size = builder.size_with(&record);
        builder.push(record).map_err(full)?;
        same("size", builder.encoded_size(), size)?;
    }
    skip_until(&mut builder, i64::from(header.last_offset_delta) + 1)?;
    builder.build().map_err(|error| error.to_string())
}

fn header(batch: &Value) -> BatchHeader {
    let base_offset = integer(batch, "base_offset");
    let int32 = |key| i32::try_from(integer(batch, key)).expect("an int32");
    let flag = |key: &str| batch[key].as_bool().expect("a flag");
    let delete_horizon = !batch["delete_horizon_ms"].is_null();
    BatchHeader {
        base_offset,
        partition_leader_epoch: int32("partition_leader_epoch"),
        attributes: Attributes::default()
            .with_compression(compression(batch).expect("a codec"))
            .with(Flag::Transactional, flag("transactional"))
            .with(Flag::Control, flag("control"))
            .with(Flag::DeleteHorizon, delete_horizon),
        last_offset_delta: i32::try_from(integer(batch, "last_offset") - base_offset).expect("an int32"),
        base_timestamp: integer(batch, if delete_horizon { "delete_horizon_ms" } else { "base_timestamp" }),
        max_timestamp: integer(batch, "max_timestamp"),
        producer_id: integer(batch, "producer_id"),
        producer_epoch: i16::try_from(integer(batch, "producer_epoch")).expect("an int16"),
        base_sequence: int32("base_sequence"),
        record_count: int32("record_count"),
    }
}

fn integer(value: &Value, key: &str) -> i64 {
    value[key].as_i64().unwrap_or_else(|| panic!("{key} is an integer"))
}
