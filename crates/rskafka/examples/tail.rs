//! Follows a partition and shows how far behind it is:
//! `cargo run --example tail [-- HOST:PORT TOPIC [PARTITION [earliest|latest|OFFSET [COUNT]]]]`.
//!
//! Each line has offset, lag (how many offsets there are behind it), time, key and value.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use rskafka::client::consumer::StartAt;
use rskafka::client::{Client, error};
use rskafka::record::Record;
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    let (address, topic, options) = match arguments {
        [] => (None, "tail", &[][..]),
        [address, topic, options @ ..] if options.len() < 4 => {
            (Some(address.as_str()), topic.as_str(), options)
        }
        _ => return Err("usage: tail [HOST:PORT TOPIC [PARTITION [earliest|latest|OFFSET [COUNT]]]]".into()),
    };
    let client = support::connect(address).await?;
    let partition = support::number("PARTITION", options.first(), 0)?;
    let start = match options.get(1).map(String::as_str) {
        None | Some("earliest") => StartAt::Earliest,
        Some("latest") => StartAt::Latest,
        Some(_) => StartAt::Offset(support::number("OFFSET", options.get(1), 0)?),
    };
    let mut count = support::number("COUNT", options.get(2), u64::MAX)?;
    if address.is_none() {
        client.create_topic(topic, 1, 1).await?;
        tokio::spawn(append(client.clone(), topic.to_owned()));
        count = 20;
    }

    let mut records = client.partition_client(topic, partition).await?.stream(start).build();
    while count > 0 {
        let read = match records.try_next().await {
            Ok(Some(read)) => read,
            Ok(None) => break,
            // Such as a leader that moves: the stream goes on where it was.
            Err(error) if error.is_retriable() => {
                eprintln!("{error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        count -= 1;
        let (record, lag) = (read.record, records.lag().unwrap_or(0));
        let [key, value] = [record.key, record.value]
            .map(|part| part.map_or("null".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned()));
        support::print(format!("{:9} {lag:9}  {}  {key}  {value}", read.offset, record.timestamp))?;
    }
    Ok(())
}

/// What there is to follow without a broker: three records at a time.
async fn append(client: Client, topic: String) -> error::Result<()> {
    let log = client.partition_client(topic, 0).await?;
    for number in 0.. {
        let record = |part| Record::new("key", format!("{number}.{part}"), OffsetDateTime::now_utc());
        log.produce([1, 2, 3].map(record)).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
