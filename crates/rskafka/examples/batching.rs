//! Many tasks, few batches: `cargo run --example batching [-- HOST:PORT [TOPIC]]`.
//!
//! Each of 1,000 tasks appends ten records and awaits each. What they append while a batch is under way goes together in the
//! next one.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use rskafka::client::OffsetAt;
use rskafka::client::consumer::StartAt;
use rskafka::client::error::Error;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::record::Record;
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    support::at_most(2, arguments, "batching [HOST:PORT [TOPIC]]")?;
    let topic = arguments.get(1).map_or("batching", String::as_str);
    let client = support::connect(arguments.first().map(String::as_str)).await?;
    client.create_topic(topic, 1, 1).if_missing().await?;
    let log = client.partition_client(topic, 0).await?;
    let start = log.get_offset(OffsetAt::Latest).await?.offset;
    // No batch has more than 512 KiB.
    let producer = BatchProducer::builder(log.clone()).build(RecordAggregator::new(512 * 1024));

    let since = Instant::now();
    let tasks = (0..1000).map(|task| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let mut offsets = Vec::new();
            for number in 0..10 {
                let value = format!("record {number} of task {task}");
                let record = Record::new((), value, OffsetDateTime::now_utc());
                offsets.push(producer.produce(record).await?);
            }
            Ok::<_, Error>(offsets)
        })
    });
    let offsets = try_join_all(tasks).await?.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let took = since.elapsed();
    let unfinished = producer.close(Duration::from_secs(5)).await;
    if !unfinished.is_empty() {
        return Err(format!("not everything was acknowledged: {unfinished:?}").into());
    }

    let end = log.get_offset(OffsetAt::Latest).await?.offset;
    let batches = log.stream(StartAt::Offset(start)).until(end).build_batches();
    let batches: Vec<_> = batches.try_collect().await?;
    println!("{} records in {} batches took {took:.0?}", offsets.len(), batches.len());
    Ok(())
}
