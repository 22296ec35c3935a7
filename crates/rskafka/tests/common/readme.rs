//! The README's example, word for word but for address and topic.

use super::{Brokers, new_topic};

#[rustfmt::skip] // It would move the comments within the calls.
pub async fn the_example_of_the_readme_runs(brokers: Brokers) {
    let (bootstrap, name) = (brokers[0].clone(), new_topic("readme"));
    // README example: begin
    use rskafka::{client::Client, record::Record};
    use std::collections::BTreeMap;
    use time::OffsetDateTime;

    let connection = bootstrap;
    let client = Client::new_plain(vec![connection]).await.unwrap();
    let topic = name.as_str();
    client.create_topic(topic, 2 /* partitions */, 1 /* replication factor */).await.unwrap();
    let partition_client = client.partition_client(topic.to_owned(), 0).await.unwrap();
    let record = Record {
        key: b"".to_vec(),
        value: b"hello kafka".to_vec(),
        headers: BTreeMap::from([("foo".to_owned(), b"bar".to_vec())]),
        timestamp: OffsetDateTime::now_utc(),
    };
    partition_client.produce(vec![record]).await.unwrap();
    let (records, high_watermark) = partition_client
        .fetch_records(0 /* offset */, 1..1_000_000 /* min..max bytes */, 1_000 /* max wait, ms */)
        .await
        .unwrap();
    // README example: end
    assert_eq!((records.len(), high_watermark), (1, 1));
    let read = &records[0];
    assert_eq!(read.offset, 0);
    assert_eq!(read.record.key.as_deref(), Some(&b""[..]));
    assert_eq!(read.record.value.as_deref(), Some(&b"hello kafka"[..]));
    let headers: Vec<_> = read.record.headers.iter().collect();
    assert_eq!(headers, [(&"foo".into(), Some(&"bar".into()))]);
}
