use futures_util::TryStreamExt;
use rskafka::client::Client;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::fake::{FakeCluster, FakeClusterExt};
use rskafka::record::Record;
use rskafka::time::OffsetDateTime;
use rskafka::wal::{Position, Writer};

/// What a process does when it starts: reads all values, and has the log from then on.
async fn open(client: &Client, name: &'static str) -> Result<(Writer, Vec<String>), Error> {
    let wal = client.wal("store", 0).await?;
    let mut recovery = wal.claim(Position::START, name).await?;
    let mut values = Vec::new();
    while let Some(entry) = recovery.try_next().await? {
        for read in entry.into_records() {
            values.push(String::from_utf8_lossy(&read?.record.value.unwrap()).into_owned());
        }
    }
    Ok((recovery.into_writer()?, values))
}

fn record(value: &str) -> Record<(), &str, ()> {
    Record::new((), value, OffsetDateTime::now_utc())
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_overtaken_appends_nothing_that_counts() {
    let cluster = FakeCluster::builder().brokers(3).in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    client.create_topic("store", 1, 3).for_log().await.unwrap();
    let (old, values) = open(&client, "old").await.unwrap();
    assert!(values.is_empty());
    old.append([record("red")]).await.unwrap();

    let (new, values) = open(&client, "new").await.unwrap();
    assert_eq!(values, ["red"]);
    let error = old.append([record("late")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Fenced { .. }), "{error:?}");
    new.append([record("blue")]).await.unwrap();

    let (_, values) = open(&client, "another").await.unwrap();
    assert_eq!(values, ["red", "blue"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_can_lose_records_is_refused() {
    let cluster = FakeCluster::builder().in_memory().start().await.unwrap();
    let client = cluster.client().await.unwrap();
    // One replica, and Kafka's retention of a week.
    client.create_topic("store", 1, 1).await.unwrap();
    let error = open(&client, "first").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDurable), "{error:?}");
}
