//! Appends a few records to a log and tails it: `cargo run --example wal -- localhost:9092`.

use rskafka::client::error::Error;
use rskafka::client::{Client, OffsetAt};
use rskafka::record::Record;
use time::OffsetDateTime;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let client = Client::new_plain([broker]).await?;
    client.create_topic("wal-example", 1, 1).for_log().if_missing().await?;
    let log = client.partition_client("wal-example", 0).await?;
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
