//! What is refused, and how.

use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::ErrorCode;
use rskafka::record::{Record, RecordBatchBuilder};

use super::{Brokers, SLACK, has_topic_ids, new_log, new_topic, read_all, record, served, values};

/// A topic that was just created is not known everywhere at once: the client asks again for a second.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_secs(1);

pub async fn an_unknown_topic_is_reported_by_its_name(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("unknown");
    let started = tokio::time::Instant::now();
    let error = client.partition_client(&name, 0).await.unwrap_err();
    assert!(started.elapsed() <= UNKNOWN_TOPIC_PATIENCE + SLACK, "{:?}", started.elapsed());
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition);
    assert_eq!((error.topic(), error.partition()), (Some(name.as_str()), Some(0)));
    assert!(error.to_string().contains(&name), "{error}");
    assert!(error.broker().is_some(), "{error}");
}

pub async fn an_unknown_partition_is_reported_by_its_index(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "partition").await;
    let started = tokio::time::Instant::now();
    let error = client.partition_client(log.topic(), 1).await.unwrap_err();
    assert!(started.elapsed() <= UNKNOWN_TOPIC_PATIENCE + SLACK, "{:?}", started.elapsed());
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition);
    assert_eq!(error.partition(), Some(1));
    assert!(error.broker().is_some(), "{error}");
    let error = client.partition_client(log.topic(), -1).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
}

pub async fn a_batch_that_is_too_large_is_refused_and_not_written(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let topic = new_topic("large");
    client.create_topic(&topic, 1, 1).config("max.message.bytes", "10000").await.unwrap();
    let log = client.partition_client(&topic, 0).await.unwrap();
    let (before, large, after) = (
        log.produce([record("before")]),
        log.produce([record(vec![0u8; 20_000])]),
        log.produce([record("after")]),
    );
    assert_eq!(before.await.unwrap().base_offset, 0);
    let error = large.await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::MESSAGE_TOO_LARGE));
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::NotWritten, false));
    let text = error.to_string();
    assert!(text.contains(&format!("Produce on topic {topic} partition 0 at broker ")), "{text}");
    assert_eq!(after.await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["before", "after"]);
}

pub async fn arguments_that_make_no_sense_are_refused(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "arguments").await;
    let is_refused = |error: rskafka::client::error::Error| {
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
        assert_eq!(error.outcome(), Outcome::NotWritten);
    };
    is_refused(log.produce::<(), (), ()>([]).await.unwrap_err());
    is_refused(log.produce_batch(RecordBatchBuilder::new()).await.unwrap_err());
    is_refused(log.fetch_records(-1, 1..10, 1).await.unwrap_err());
    is_refused(log.fetch_records(0, 0..0, 1).await.unwrap_err());
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    is_refused(log.fetch_records(0, 10..1, 1).await.unwrap_err());
    is_refused(log.fetch_records(0, 1..10, -1).await.unwrap_err());
    is_refused(Client::new_plain([""; 0]).await.unwrap_err());
    is_refused(Client::new_plain(vec!["no-port".to_owned()]).await.unwrap_err());
}

pub async fn a_produce_to_a_deleted_topic_is_not_written(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "gone").await;
    log.produce([record("one")]).await.unwrap();
    client.delete_topic(log.topic()).await.unwrap();
    // The leader may serve a last batch before it learns of the end; that one is lost with the topic.
    let mut rounds = 0;
    let error = loop {
        match log.produce([record("two")]).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            // Asked by a client with old metadata, the broker's answer does not tell.
            Err(error) if error.outcome() == Outcome::Unknown => {}
            Err(error) => break error,
        }
        rounds += 1;
        assert!(rounds < 100, "still written");
    };
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition, "{error}");
}

pub async fn a_recreated_topic_is_reported(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "recreated").await;
    log.produce([record("of the first")]).await.unwrap();
    // Somebody else does it: nothing tells the first client.
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    client.delete_topic(log.topic()).await.unwrap();
    create_again(&client, log.topic()).await;
    let second = served(&client, log.topic(), 0).await;
    if !has_topic_ids(&brokers).await {
        // Nothing tells the one topic from the other: reads go on with the second one. The writer notices that what was
        // acknowledged is gone, and a writer without idempotence does not.
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 0);
        let error = log.produce([record("of the first client")]).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 0 }, "{error}");
        let written = read_all(&second).await.len();
        let plain = client.partition_client(log.topic(), 0).idempotence(false).await.unwrap();
        assert_eq!(plain.produce([record("another")]).await.unwrap().base_offset, written as i64);
        return;
    }
    let error = log.get_offset(OffsetAt::Latest).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{error}");
    second.produce([record("of the second")]).await.unwrap();
    // What the first client does is not done to the second topic.
    let mut rounds = 0;
    let error = loop {
        match log.produce([record("astray")]).await {
            Err(error) if error.outcome() == Outcome::NotWritten => break error,
            other => assert!(other.is_err(), "written to another topic"),
        }
        rounds += 1;
        assert!(rounds < 100, "not noticed");
    };
    assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{error}");
    let error = log.fetch_records(0, 1..1_000_000, 10).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{error}");
    assert_eq!(values(&read_all(&second).await), ["of the second"]);
}

/// Creates a topic whose namesake is being deleted.
async fn create_again(client: &Client, topic: &str) {
    let mut rounds = 0;
    while client.create_topic(topic, 1, 1).await.is_err() {
        rounds += 1;
        assert!(rounds < 100, "cannot be created again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn what_is_called_not_written_is_not_in_the_log(brokers: Brokers) {
    let large = Record { value: vec![0; 5000], ..keyed("") };
    not_written(brokers, ("max.message.bytes", "1000"), large, ErrorCode::MESSAGE_TOO_LARGE).await;
}

pub async fn a_record_without_a_key_is_not_written_to_a_compacted_topic(brokers: Brokers) {
    let keyless = keyless(b"never".to_vec());
    not_written(brokers, ("cleanup.policy", "compact"), keyless, ErrorCode::INVALID_RECORD).await;
}

pub async fn a_record_that_is_too_old_is_not_written(brokers: Brokers) {
    let yesterday = super::now() - Duration::from_secs(24 * 60 * 60);
    let old = Record { timestamp: yesterday, ..keyed("never") };
    let config = ("message.timestamp.before.max.ms", "60000");
    not_written(brokers, config, old, ErrorCode::INVALID_TIMESTAMP).await;
}

/// Appends what a topic's config has brokers refuse, between appends that they take, and reads the log back.
async fn not_written(brokers: Brokers, config: (&str, &str), refused: KeyedRecord, code: ErrorCode) {
    let client = Client::new_plain(brokers).await.unwrap();
    let topic = new_topic("refused");
    let (name, value) = config;
    let created = client.create_topic(&topic, 1, 1).config(name, value).await;
    // Before Kafka 3.6 there is one for both sides.
    if created.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::INVALID_CONFIG)) {
        let both = "message.timestamp.difference.max.ms";
        client.create_topic(&topic, 1, 1).config(both, value).await.unwrap();
    } else {
        created.unwrap();
    }
    let log = client.partition_client(&topic, 0).await.unwrap();
    for taken in ["before", "after"] {
        log.produce([keyed(taken)]).await.unwrap();
        let error = log.produce([refused.clone()]).await.expect_err(name);
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::NotWritten), "{error}");
    }
    assert_eq!(values(&read_all(&log).await), ["before", "after"]);
}

type KeyedRecord = Record<Option<Vec<u8>>, Vec<u8>, ()>;

fn keyed(value: &str) -> KeyedRecord {
    Record { key: Some(b"key".to_vec()), ..keyless(value.as_bytes().to_vec()) }
}

fn keyless(value: Vec<u8>) -> KeyedRecord {
    Record { key: None, value, headers: (), timestamp: super::now() }
}

pub async fn an_answer_larger_than_the_limit_is_refused_unread(brokers: Brokers) {
    let (client, log) = limited(&brokers, 2_000).await;
    log.produce([record(vec![1u8; 5_000])]).await.unwrap();
    let error = log.fetch_records(0, 1..1_000_000, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidAnswer);
    let text = format!("{error:?}");
    let place = format!("Fetch on topic {} partition 0 at broker ", log.topic());
    assert!(text.contains(&place) && text.contains("larger than the limit of 2000"), "{text}");
    assert!(text.contains("larger than max_frame_bytes"), "{text}");
    // Only that connection has ended.
    log.produce([record("next")]).await.unwrap();
    client.close().await;
}

pub async fn a_fetch_asks_for_no_more_than_the_largest_frame_holds(brokers: Brokers) {
    let (_, log) = limited(&brokers, 4_000).await;
    for _ in 0..6 {
        log.produce([record(vec![1u8; 1_000])]).await.unwrap();
    }
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert!(!records.is_empty());
}

/// A client that takes no larger frames, and a new log.
async fn limited(brokers: &Brokers, max_frame_bytes: usize) -> (Client, PartitionClient) {
    let (_, log) = new_log(brokers, "frames").await;
    let client = Client::builder(brokers.clone()).max_frame_bytes(max_frame_bytes).build().await.unwrap();
    let log = client.partition_client(log.topic(), 0).await.unwrap();
    (client, log)
}

pub async fn a_new_partition_client_looks_at_what_is_there_now(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "now").await;
    log.produce([record("of the first")]).await.unwrap();
    // Another client deletes the topic, and makes it again.
    let other = Client::new_plain(brokers).await.unwrap();
    other.delete_topic(log.topic()).await.unwrap();
    let mut rounds = 0;
    let error = loop {
        match client.partition_client(log.topic(), 0).await {
            // A broker that has not heard of it yet may have been asked.
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => break error,
        }
        rounds += 1;
        assert!(rounds < 100, "it is still there");
    };
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition);
    create_again(&other, log.topic()).await;
    let log = served(&client, log.topic(), 0).await;
    assert_eq!(log.produce([record("of the second")]).await.unwrap().base_offset, 0);
    assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1);
}
