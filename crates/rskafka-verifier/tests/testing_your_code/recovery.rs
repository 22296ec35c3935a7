use std::collections::BTreeMap;

use rskafka::client::error::{Error, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::fake::{FakeCluster, FakeClusterExt, Fault};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka::time::OffsetDateTime;

/// The code under test: a map in memory, whose changes are in a log.
struct Store {
    log: PartitionClient,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    changes: u64,
}

impl Store {
    /// Reads the whole log.
    async fn recover(client: &Client) -> Result<Self, Error> {
        let log = client.partition_client("store", 0).await?;
        let end = log.get_offset(OffsetAt::Latest).await?.offset;
        let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
        let mut store = Self { log, values: BTreeMap::new(), changes: 0 };
        while next < end {
            let fetched = store.log.fetch(next).await?;
            next = fetched.next_offset();
            for read in fetched.into_records() {
                let record = read?.record;
                let (key, value) = (record.key.unwrap(), record.value.unwrap());
                store.values.insert(key.to_vec(), value.to_vec());
                store.changes += 1;
            }
        }
        Ok(store)
    }

    /// Changes the map only when the change is in the log. If that is in doubt, the store has to be
    /// recovered before it is used again.
    async fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.log.produce([Record::new(key.clone(), value.clone(), OffsetDateTime::now_utc())]).await?;
        self.values.insert(key, value);
        self.changes += 1;
        Ok(())
    }
}

/// Three brokers in memory, and a client that knows no other way than to them.
async fn cluster_and_client() -> (FakeCluster, Client) {
    let cluster = FakeCluster::builder().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic("store", 1, 3).unwrap();
    let client = cluster.client().await.unwrap();
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_is_lost_is_there_once_after_recovery() {
    let (cluster, client) = cluster_and_client().await;
    let mut store = Store::recover(&client).await.unwrap();
    store.set("color", "red").await.unwrap();

    // The next append is written, but its answer is lost, and the connection with it.
    let lost = cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE));
    if let Err(error) = store.set("color", "blue").await {
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert_eq!(cluster.struck(lost), 1);

    let recovered = Store::recover(&client).await.unwrap();
    assert_eq!(recovered.values[&b"color"[..]], b"blue");
    assert_eq!(recovered.changes, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_is_not_there_and_the_store_goes_on() {
    let (cluster, client) = cluster_and_client().await;
    let mut store = Store::recover(&client).await.unwrap();

    cluster.inject(Fault::answer(ErrorCode::INVALID_RECORD).on(ApiKey::PRODUCE));
    let error = store.set("color", "red").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotWritten);
    store.set("color", "blue").await.unwrap();

    let recovered = Store::recover(&client).await.unwrap();
    assert_eq!((recovered.values, recovered.changes), (store.values, 1));
}

#[tokio::test(start_paused = true)]
async fn the_store_survives_its_broker() {
    let (cluster, client) = cluster_and_client().await;
    let mut store = Store::recover(&client).await.unwrap();
    store.set("color", "red").await.unwrap();

    let leader = cluster.leader("store", 0).unwrap().unwrap();
    cluster.stop_broker(leader).await.unwrap();
    while let Err(error) = store.set("shape", "round").await {
        // Whether to send again what may be written is the caller's to decide.
        assert_eq!(error.outcome(), Outcome::Unknown);
        store = Store::recover(&client).await.unwrap();
    }
    cluster.start_broker(leader).await.unwrap();

    let recovered = Store::recover(&client).await.unwrap();
    assert_eq!(recovered.values[&b"color"[..]], b"red");
    assert_eq!(recovered.values[&b"shape"[..]], b"round");
}
