//! Appends a few records to a log and tails it: `cargo run --example wal [-- HOST:PORT [TOPIC]]`.

use std::process::ExitCode;

use rskafka::client::OffsetAt;
use rskafka::client::error::Error;
use rskafka::record::Record;
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    support::at_most(2, arguments, "wal [HOST:PORT [TOPIC]]")?;
    let topic = arguments.get(1).map_or("wal-example", String::as_str);
    let client = support::connect(arguments.first().map(String::as_str)).await?;
    client.create_topic(topic, 1, 1).for_log().if_missing().await?;
    let log = client.partition_client(topic, 0).await?;
    let mut offset = log.get_offset(OffsetAt::Latest).await?.offset;
    let end = offset + 10;

    let append = async {
        for number in 0..10 {
            let value = format!("entry {number}");
            let record = Record::new((), value, OffsetDateTime::now_utc());
            println!("appended at {}", log.produce([record]).await?.base_offset);
        }
        Ok::<_, Error>(())
    };
    let tail = async {
        while offset < end {
            let fetched = log.fetch(offset).await?;
            offset = fetched.next_offset();
            for read in fetched.into_records() {
                let read = read?;
                println!("{}: {:?}", read.offset, read.record.value);
            }
        }
        Ok(())
    };
    // A failed append ends both: the tail would wait for its record.
    tokio::try_join!(append, tail)?;
    Ok(())
}
