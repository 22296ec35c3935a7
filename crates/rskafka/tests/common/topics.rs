//! Topics come and go.

use rskafka::client::Client;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::ErrorCode;

use super::{Brokers, new_topic, record};

pub async fn a_created_topic_is_listed_with_its_partitions(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("listed");
    client.create_topic(&name, 3, 1).await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let topic = topics.iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(topic.partitions.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(topic.partitions.values().all(|partition| partition.leader.is_some()));
    assert!(!topic.is_internal);
    // Each partition can be written to at once.
    for index in 0..3 {
        let log = client.partition_client(&name, index).await.unwrap();
        assert_eq!(log.produce([record("first")]).await.unwrap().base_offset, 0);
    }
}

pub async fn a_topic_that_exists_is_not_created_again(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("twice");
    client.create_topic(&name, 1, 1).await.unwrap();
    let error = client.create_topic(&name, 1, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::TOPIC_ALREADY_EXISTS));
    assert_eq!((error.code(), error.topic()), (Some(ErrorCode::TOPIC_ALREADY_EXISTS), Some(name.as_str())));
    assert_eq!((error.is_retriable(), error.outcome()), (false, Outcome::NotWritten));
}

pub async fn a_deleted_topic_is_gone(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("deleted");
    client.create_topic(&name, 1, 1).await.unwrap();
    client.delete_topic(&name).await.unwrap();
    // Each broker learns of it on its own.
    let mut rounds = 0;
    while client.list_topics().await.unwrap().iter().any(|topic| topic.name == name) {
        rounds += 1;
        assert!(rounds < 100, "still listed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let error = client.delete_topic(&name).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition);
}

pub async fn too_many_replicas_are_refused(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let error = client.create_topic(new_topic("replicas"), 1, 100).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::INVALID_REPLICATION_FACTOR), "{error}");
}

pub async fn configs_are_taken_over(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("configs");
    client.create_topic(&name, 1, 1).config("message.timestamp.type", "LogAppendTime").await.unwrap();
    let log = client.partition_client(&name, 0).await.unwrap();
    let produced = log.produce([record("stamped by the broker")]).await.unwrap();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(Some(records[0].record.timestamp), produced.log_append_time);
    let error =
        client.create_topic(new_topic("configs"), 1, 1).config("no.such", "config").await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::INVALID_CONFIG), "{error}");
}
