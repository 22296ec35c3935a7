//! Shows a partition batch by batch, and what an exclusive log makes of each:
//! `cargo run --example inspect [-- HOST:PORT TOPIC PARTITION [START [END]]] [--json]`.
//!
//! START is an offset, or a position that was stored. What counts is only known from the log's start on, or from such a
//! position: from another offset, there are no verdicts.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures_util::{StreamExt, TryStreamExt, future::ready};
use rskafka::client::consumer::StartAt;
use rskafka::client::{Client, OffsetAt};
use rskafka::record::Record;
use rskafka::wal::{Item, Position, Stamp};
use serde_json::json;
use time::OffsetDateTime;

mod support;

const COLUMNS: &str = "offset records bytes codec producer_id producer_epoch base_sequence leader_epoch \
    kind term sequence writer verdict";

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    let is_json = arguments.iter().any(|text| text == "--json");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).filter(|it| *it != "--json").collect();
    let (client, topic, index, rest) = match arguments[..] {
        [] => (two_writers().await?, "inspect", "0", &[][..]),
        [at, topic, index, ref rest @ ..] => (support::connect(Some(at)).await?, topic, index, rest),
        _ => return Err("usage: inspect [HOST:PORT TOPIC PARTITION [START [END]]] [--json]".into()),
    };
    let partition = support::number("PARTITION", Some(&index), 0)?;
    let log = client.partition_client(topic, partition).await?;
    let first = log.get_offset(OffsetAt::Earliest).await?.offset;
    let stored = rest.first().and_then(|text| text.parse::<Position>().ok());
    let start = stored.map_or_else(|| support::number("START", rest.first(), first), |it| Ok(it.offset()))?;
    let end = support::number("END", rest.get(1), log.get_offset(OffsetAt::Latest).await?.offset)?;

    let known = stored.or((start == 0).then_some(Position::START));
    let read = client.wal(topic, partition).await?.read(known.unwrap_or(Position::START));
    let items = read.until(end).build_items().inspect_err(|error| eprintln!("not judged further: {error}"));
    let items = items.take(if known.is_some() { usize::MAX } else { 0 });
    let items = items.take_while(|item| ready(item.is_ok())).filter_map(|item| ready(item.ok()));
    let mut verdicts: BTreeMap<_, _> = items.map(verdict).collect().await;

    if !is_json {
        support::print(COLUMNS.replace(' ', "\t"))?;
    }
    let mut batches = log.stream(StartAt::Offset(start)).until(end).build_batches();
    while let Some(batch) = batches.try_next().await? {
        let (header, stamp) = (batch.header(), Stamp::of(&batch));
        let row = json!({
            "offset": header.base_offset, "records": header.record_count, "bytes": batch.encoded_size(),
            "codec": batch.compression().name(), "leader_epoch": header.partition_leader_epoch,
            "producer_id": header.producer_id, "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence, "verdict": verdicts.remove(&header.base_offset),
            "kind": stamp.map(|stamp| format!("{:?}", stamp.kind)), "term": stamp.map(|stamp| stamp.term),
            "sequence": stamp.map(|it| it.sequence), "writer": stamp.map(|it| format!("{:016x}", it.writer)),
        });
        let cells: Vec<_> = COLUMNS.split(' ').map(|name| row[name].to_string().replace('"', "")).collect();
        support::print(if is_json { row.to_string() } else { cells.join("\t") })?;
    }
    Ok(())
}

fn verdict(item: Item) -> (i64, String) {
    match item {
        Item::Entry(entry) => (entry.offsets().start, "counts".to_owned()),
        Item::Claim(claim) => (claim.offset, "counts".to_owned()),
        Item::PassedOver { offsets, dead: None } => (offsets.start, "foreign".to_owned()),
        Item::PassedOver { offsets, dead: Some(dead) } => (offsets.start, format!("dead: {dead}")),
        _ => (-1, String::new()),
    }
}

/// A log to look at without a broker: the second writer has taken it from the first.
async fn two_writers() -> support::Result<Client> {
    let client = support::connect(None).await?;
    let wal = support::wal(&client, "inspect").await?;
    let mut writers = Vec::new();
    for name in ["first", "second"] {
        let mut recovery = wal.claim(Position::START, name).await?;
        while recovery.try_next().await?.is_some() {}
        writers.push(recovery.into_writer()?);
        for writer in &writers {
            // The last one of the first writer is dead.
            let _ = writer.append([Record::new((), name, OffsetDateTime::now_utc())]).await;
        }
    }
    Ok(client)
}
