//! Claims a log, prints what is in it, and appends a number every 100 ms until another process claims it:
//! `cargo run --example exclusive -- localhost:9092 TOPIC NAME [COUNT]`.
//!
//! Run it twice with different names: the second one takes the log from the first. Stop the first one before with SIGSTOP, and
//! continue it afterwards: what it sends late is dead.

use futures_util::TryStreamExt;
use rskafka::client::{Client, DurabilityKind};
use rskafka::record::Record;
use rskafka::wal::Position;
use time::OffsetDateTime;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [broker, topic, name] => run(broker, topic, name, u64::MAX).await,
        [broker, topic, name, count] => run(broker, topic, name, count.parse()?).await,
        _ => Err("usage: exclusive HOST:PORT TOPIC NAME [COUNT]".into()),
    }
}

pub(crate) async fn run(
    broker: &str,
    topic: &str,
    name: &str,
    count: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new_plain([broker]).await?;
    client.create_topic(topic, 1, 1).config("retention.ms", "-1").if_missing().await?;
    // A log that matters has three replicas on brokers that were set up for it, and accepts none of these.
    use DurabilityKind::{MinInsyncTooLow, NotTold, OneReplica, UncleanElection};
    let risks = [OneReplica, MinInsyncTooLow, UncleanElection, NotTold];
    let wal = client.wal(topic, 0).accept_risks(risks).await?;

    let mut recovery = wal.claim(Position::START, name.to_owned()).await?;
    let mut entries = 0;
    while let Some(entry) = recovery.try_next().await? {
        entries += 1;
        for record in entry.records() {
            let value = record?.value.unwrap_or_default();
            println!("read {} {}", entry.offsets().start, String::from_utf8_lossy(value));
        }
    }
    let writer = recovery.into_writer()?;
    println!("claimed term {} after {entries} entries", writer.claim().term);

    for number in 0..count {
        let value = format!("{name} {number}");
        match writer.append([Record::new((), value.clone(), OffsetDateTime::now_utc())]).await {
            Ok(appended) => println!("appended {} {value}", appended.offsets.start),
            Err(error) => {
                println!("ended {value}: {error}");
                return Ok(());
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}
