//! Topics and their configs are described and changed, and records deleted.

use std::time::Duration;

use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, DurabilityKind, OffsetAt, Severity};
use rskafka::protocol::{ApiKey, ErrorCode, Uuid};
use rskafka::record::Record;

use super::{Brokers, advertised, has_topic_ids, new_log, new_topic, read_all, record, served, values};

/// Asserts that a call was refused before it changed anything.
#[track_caller]
fn is_refused<T: std::fmt::Debug>(called: Result<T, Error>, code: ErrorCode) {
    let error = called.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::NotWritten), "{error:?}");
}

/// Whether brokers have an API; if not, asserts that a call of it says so.
async fn has<T: std::fmt::Debug>(
    brokers: &Brokers,
    api: ApiKey,
    call: impl Future<Output = Result<T, Error>>,
) -> bool {
    if advertised(brokers).await.contains_key(&api) {
        return true;
    }
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Unsupported, Outcome::NotWritten), "{error:?}");
    false
}

pub async fn a_topic_is_described_with_its_id_and_its_replicas(brokers: Brokers) {
    let client = Client::new_plain(&brokers).await.unwrap();
    let name = new_topic("described");
    client.create_topic(&name, 2, 1).await.unwrap();
    let topic = client.describe_topic(&name).await.unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions.len(), topic.is_internal), (name.as_str(), 2, false));
    assert_eq!(topic.id != Uuid::ZERO, has_topic_ids(&brokers).await);
    for partition in topic.partitions.values() {
        let leader = vec![partition.leader.unwrap()];
        assert_eq!((&partition.replicas, &partition.isr), (&leader, &leader));
    }
    let error = client.describe_topic(new_topic("unknown")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition, "{error:?}");
}

pub async fn a_topic_that_is_only_validated_is_not_created(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("validated");
    client.create_topic(&name, 2, 1).config("retention.ms", "-1").validate_only().await.unwrap();
    let listed = client.list_topics().await.unwrap();
    assert!(listed.iter().all(|topic| topic.name != name));
    let wrong = client.create_topic(&name, 2, 1).config("retention.ms", "soon");
    is_refused(wrong.validate_only().await, ErrorCode::INVALID_CONFIG);
    client.create_topic(&name, 2, 1).await.unwrap();
    let again = client.create_topic(&name, 2, 1).validate_only();
    is_refused(again.await, ErrorCode::TOPIC_ALREADY_EXISTS);
    client.create_topic(&name, 2, 1).validate_only().if_missing().await.unwrap();
}

pub async fn partitions_lie_at_the_brokers_that_they_are_assigned_to(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    // Which brokers there are: each leads one of many partitions.
    let other = new_topic("assigned");
    client.create_topic(&other, 12, 1).await.unwrap();
    let partitions = client.describe_topic(&other).await.unwrap().partitions;
    let mut ids: Vec<i32> = partitions.values().filter_map(|partition| partition.leader).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut turned = ids.clone();
    turned.rotate_left(1);

    let name = new_topic("assigned");
    let wanted = [turned.clone(), ids.clone(), turned.clone()];
    client.create_topic(&name, 3, ids.len() as i16).replica_assignment(wanted.clone()).await.unwrap();
    let partitions = client.describe_topic(&name).await.unwrap().partitions;
    let replicas: Vec<_> = partitions.values().map(|partition| partition.replicas.clone()).collect();
    assert_eq!(replicas, wanted);
    assert!(partitions.values().all(|partition| partition.leader == Some(partition.replicas[0])));

    // With ZooKeeper a broker that does not exist is taken.
    let twice = client.create_topic(new_topic("assigned"), -1, -1).replica_assignment([[ids[0], ids[0]]]);
    is_refused(twice.await, ErrorCode::INVALID_REPLICA_ASSIGNMENT);
}

pub async fn partitions_that_were_added_can_be_written(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "grown").await;
    log.produce([record("before")]).await.unwrap();
    client.create_partitions(log.topic(), 3).await.unwrap();
    for partition in 1..3 {
        let added = client.partition_client(log.topic(), partition).await.unwrap();
        assert_eq!(added.produce([record("first")]).await.unwrap().base_offset, 0);
    }
    assert_eq!(values(&read_all(&log).await), ["before"]);
    for count in [2, 3] {
        is_refused(client.create_partitions(log.topic(), count).await, ErrorCode::INVALID_PARTITIONS);
    }
    let unknown = client.create_partitions(new_topic("unknown"), 3).await.unwrap_err();
    assert_eq!(unknown.kind(), &ErrorKind::UnknownTopicOrPartition, "{unknown:?}");
}

pub async fn configs_are_described_and_altered(brokers: Brokers) {
    const DYNAMIC_TOPIC_CONFIG: i8 = 1;
    let client = Client::new_plain(&brokers).await.unwrap();
    let name = new_topic("altered");
    client.create_topic(&name, 1, 1).config("segment.bytes", "2000000").await.unwrap();
    let value = async |config: &str| {
        let described = client.describe_configs(&name).await.unwrap();
        let config = &described[config];
        (config.value.clone().unwrap(), config.config_source == DYNAMIC_TOPIC_CONFIG)
    };
    let segment = ("2000000".to_owned(), true);
    assert_eq!(value("segment.bytes").await, segment);
    let before = value("retention.ms").await;
    assert!(!before.1, "{before:?}");
    let set = async |value| client.alter_configs(&name, &[("retention.ms", value)]).await;
    if !has(&brokers, ApiKey::INCREMENTAL_ALTER_CONFIGS, set(Some("1"))).await {
        return;
    }
    set(Some("123456789")).await.unwrap();
    // Each broker learns of it on its own.
    let becomes = async |expected: (String, bool)| {
        let mut rounds = 0;
        while value("retention.ms").await != expected {
            rounds += 1;
            assert!(rounds < 100, "still {:?}", value("retention.ms").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    becomes(("123456789".to_owned(), true)).await;

    // Of several changes all are made, or none.
    let refused =
        client.alter_configs(&name, &[("retention.ms", Some("-1")), ("cleanup.policy", Some("burn"))]);
    let error = refused.await.unwrap_err();
    let codes = [ErrorCode::INVALID_CONFIG, ErrorCode::INVALID_REQUEST].map(Some);
    assert!(codes.contains(&error.code()) && error.outcome() == Outcome::NotWritten, "{error:?}");
    assert_eq!(value("retention.ms").await.0, "123456789");

    set(None).await.unwrap();
    becomes(before).await;
    assert_eq!(value("segment.bytes").await, segment);

    for unknown in [
        client.describe_configs(new_topic("unknown")).await.unwrap_err(),
        client.alter_configs(new_topic("unknown"), &[("retention.ms", None)]).await.unwrap_err(),
    ] {
        let said = (unknown.kind(), unknown.outcome());
        assert_eq!(said, (&ErrorKind::UnknownTopicOrPartition, Outcome::NotWritten), "{unknown:?}");
    }
}

pub async fn records_before_an_offset_are_deleted(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "trimmed").await;
    if !has(&brokers, ApiKey::DELETE_RECORDS, log.delete_records(0)).await {
        return;
    }
    for value in ["a", "b", "c", "d", "e"] {
        log.produce([record(value)]).await.unwrap();
    }
    assert_eq!(log.delete_records(0).await.unwrap(), 0);
    assert_eq!(log.delete_records(3).await.unwrap(), 3);
    assert_eq!(values(&read_all(&log).await), ["d", "e"]);
    assert_eq!(log.get_offset(OffsetAt::Earliest).await.unwrap().offset, 3);
    // What is gone cannot be deleted again.
    assert_eq!(log.delete_records(1).await.unwrap(), 3);

    let error = log.delete_records(6).await.unwrap_err();
    let expected = ErrorKind::OffsetOutOfRange { offset: 6, log_start: 3, log_end: 5 };
    assert_eq!((error.kind(), error.outcome()), (&expected, Outcome::NotWritten), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("DeleteRecords on topic ") && text.contains(" partition 0 at broker "), "{text}");
    assert_eq!(values(&read_all(&log).await), ["d", "e"]);

    assert_eq!(log.delete_records(None).await.unwrap(), 5);
    assert_eq!(read_all(&log).await, []);
    assert_eq!(log.produce([record("f")]).await.unwrap().base_offset, 5);
    assert_eq!(values(&read_all(&log).await), ["f"]);
}

pub async fn records_of_a_compacted_topic_are_not_deleted(brokers: Brokers) {
    let client = Client::new_plain(&brokers).await.unwrap();
    let name = new_topic("compacted");
    client.create_topic(&name, 1, 1).config("cleanup.policy", "compact").await.unwrap();
    let log = served(&client, &name, 0).await;
    if has(&brokers, ApiKey::DELETE_RECORDS, log.delete_records(0)).await {
        is_refused(log.delete_records(None).await, ErrorCode::POLICY_VIOLATION);
    }
}

pub async fn a_topic_that_loses_records_is_told_what_to_change(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("durable");
    let create = client.create_topic(&name, 1, 1).config("cleanup.policy", "compact,delete");
    let create = create.config("retention.ms", "3600000").config("retention.bytes", "1000000000");
    create.config("min.insync.replicas", "1").await.unwrap();
    let found = client.check_durability(&name).await.unwrap();
    let said = |kind| {
        let finding = found.iter().find(|finding| finding.kind == kind);
        let finding = finding.unwrap_or_else(|| panic!("{kind:?} is missing in {found:?}"));
        (finding.severity, finding.setting, finding.value.as_str(), finding.brokers.len())
    };
    use DurabilityKind as Kind;
    use Severity::{AcknowledgedRecords, OldRecords};
    assert_eq!(said(Kind::OneReplica), (AcknowledgedRecords, "replication factor", "1", 0));
    assert_eq!(said(Kind::MinInsyncTooLow), (AcknowledgedRecords, "min.insync.replicas", "1", 1));
    assert_eq!(said(Kind::Compaction), (OldRecords, "cleanup.policy", "compact,delete", 1));
    assert_eq!(said(Kind::RetentionMs), (OldRecords, "retention.ms", "3600000", 1));
    assert_eq!(said(Kind::RetentionBytes), (OldRecords, "retention.bytes", "1000000000", 1));
    assert_eq!(said(Kind::WritersTimes), (OldRecords, "message.timestamp.type", "CreateTime", 1));
    assert_eq!(found.len(), 6, "{found:?}");
    let unknown = client.check_durability(new_topic("unknown")).await.unwrap_err();
    assert_eq!(unknown.kind(), &ErrorKind::UnknownTopicOrPartition, "{unknown:?}");
}

pub async fn a_topic_for_a_log_lacks_nothing(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let name = new_topic("durable");
    let created = client.create_topic(&name, 1, 3).for_log().await;
    if created.is_err_and(|error| error.code() == Some(ErrorCode::INVALID_REPLICATION_FACTOR)) {
        client.create_topic(&name, 1, 1).for_log().config("min.insync.replicas", "2").await.unwrap();
        let found = client.check_durability(&name).await.unwrap();
        assert_eq!(
            found.iter().map(|finding| finding.kind).collect::<Vec<_>>(),
            [DurabilityKind::OneReplica]
        );
        return;
    }
    assert_eq!(client.check_durability(&name).await.unwrap(), []);
}

pub async fn offsets_of_tiered_storage_are_asked_for_where_brokers_know_them(brokers: Brokers) {
    let (_, log) = new_log(&brokers, "tiered").await;
    for _ in 0..3 {
        log.produce([record("x")]).await.unwrap();
    }
    let deletes = has(&brokers, ApiKey::DELETE_RECORDS, log.delete_records(2)).await;
    let start = if deletes { log.delete_records(2).await.unwrap() } else { 0 };
    let last = advertised(&brokers).await[&ApiKey::LIST_OFFSETS];
    // None of the brokers has tiered storage.
    for (at, version, offset) in [
        (OffsetAt::EarliestLocal, 8, start),
        (OffsetAt::LatestTiered, 9, -1),
        (OffsetAt::EarliestPendingUpload, 11, -1),
    ] {
        match log.get_offset(at).await {
            Ok(found) => assert_eq!((found.offset, found.timestamp), (offset, None), "{at:?}"),
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
                assert!(last < version, "{error:?}");
            }
        }
    }
}

pub async fn the_record_with_the_latest_timestamp_is_found(brokers: Brokers) {
    const SINCE_LIST_OFFSETS: i16 = 7;
    let (_, log) = new_log(&brokers, "latest").await;
    if advertised(&brokers).await[&ApiKey::LIST_OFFSETS] < SINCE_LIST_OFFSETS {
        let error = log.get_offset(OffsetAt::MaxTimestamp).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
        let text = format!("{error:?}");
        assert!(
            text.contains("ListOffsets on topic ") && text.contains("this client can use 7..=11"),
            "{text}"
        );
        return;
    }
    assert_eq!(log.get_offset(OffsetAt::MaxTimestamp).await.unwrap().offset, 0);
    let start = super::now() - Duration::from_secs(100);
    for seconds in [10, 30, 20] {
        let timestamp = start + Duration::from_secs(seconds);
        log.produce([Record { timestamp, ..record("x") }]).await.unwrap();
    }
    let found = log.get_offset(OffsetAt::MaxTimestamp).await.unwrap();
    assert_eq!((found.offset, found.timestamp), (1, Some(start + Duration::from_secs(30))));
}
