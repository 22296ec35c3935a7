//! Shows a partition batch by batch, and what an exclusive log makes of each:
//! `cargo run --example inspect -- localhost:9092 TOPIC PARTITION [START [END]] [--json]`.
//!
//! What counts is only known from the log's start on: from a later START, the last column says what each batch claims to be.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use rskafka::client::consumer::StartAt;
use rskafka::client::{Client, OffsetAt};
use rskafka::wal::{Dead, Item, Position, Stamp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|text| text.starts_with('-'));
    let [broker, topic, partition, range @ ..] = &arguments[..] else {
        return Err("usage: inspect HOST:PORT TOPIC PARTITION [START [END]] [--json]".into());
    };
    let (is_json, partition) = (flags.iter().any(|flag| flag == "--json"), partition.parse()?);
    let client = Client::new_plain([broker.as_str()]).await?;
    let log = client.partition_client(topic, partition).await?;
    let start = match range.first() {
        Some(start) => start.parse()?,
        None => log.get_offset(OffsetAt::Earliest).await?.offset,
    };
    let end = match range.get(1) {
        Some(end) => end.parse()?,
        None => log.get_offset(OffsetAt::Latest).await?.offset,
    };

    let mut judged = BTreeMap::new();
    let mut items = client.wal(topic, partition).await?.read(Position::START).until(end).build_items();
    while start == 0
        && let Some(item) = items.try_next().await.unwrap_or_else(|error| {
            eprintln!("not judged any further: {error}");
            None
        })
    {
        match item {
            Item::Entry(entry) => judged.insert(entry.offsets().start, "counts"),
            Item::Claim(claim) => judged.insert(claim.offset, "counts"),
            Item::PassedOver { offsets, dead: Some(Dead::OlderTerm) } => {
                judged.insert(offsets.start, "dead: older term")
            }
            Item::PassedOver { offsets, dead: Some(Dead::Copy) } => {
                judged.insert(offsets.start, "dead: a copy")
            }
            Item::PassedOver { offsets, dead: Some(_) } => judged.insert(offsets.start, "dead: out of turn"),
            _ => None,
        };
    }

    if !is_json {
        println!("   offset  records    bytes  codec    producer      sequence  leader  what");
    }
    let mut batches = log.stream(StartAt::Offset(start)).until(end).build_batches();
    while let Some(batch) = batches.try_next().await? {
        let header = batch.header();
        let (offset, records, bytes) = (header.base_offset, header.record_count, batch.encoded_size());
        let (codec, leader) = (batch.compression().name(), header.partition_leader_epoch);
        let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
        let verdict = judged.get(&offset).copied().unwrap_or("");
        let (kind, term, writer, number) = match Stamp::of(&batch) {
            Some(stamp) => (format!("{:?}", stamp.kind), stamp.term, stamp.writer, stamp.sequence),
            None => ("Foreign".to_owned(), 0, 0, 0),
        };
        if is_json {
            println!(
                r#"{{"offset":{offset},"records":{records},"bytes":{bytes},"codec":"{codec}","producer_id":{id},"producer_epoch":{epoch},"base_sequence":{sequence},"leader_epoch":{leader},"kind":"{kind}","term":{term},"writer":"{writer:016x}","sequence":{number},"verdict":"{verdict}"}}"#
            );
        } else {
            let producer = format!("{id}/{epoch}");
            print!(
                "{offset:9}  {records:7}  {bytes:7}  {codec:7}  {producer:12}  {sequence:8}  {leader:6}  "
            );
            println!("{kind} {term}.{number} of {writer:016x} {verdict}");
        }
    }
    Ok(())
}
