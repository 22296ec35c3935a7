//! Produce: what is appended, and what is refused.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rskafka_fake::Profile;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::produce::{PartitionProduceResponse, ProduceRequest};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};

use crate::support::*;

#[tokio::test]
async fn every_version_appends_and_every_version_reads() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut expected = Vec::new();
    let mut end = 0;
    for version in client.versions::<ProduceRequest>(3..=13) {
        end += 2;
        let value = format!("version {version}");
        let request = produce_request(&topic, 0, -1, Some(batch([&value, "second"])));
        let answer = produced(client.call(version, &request).await);
        let offset = expected.len() as i64;
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, offset), "version {version}");
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
        expected.push((offset, Bytes::from(value)));
        expected.push((offset + 1, Bytes::from_static(b"second")));
    }
    for version in client.versions::<FetchRequest>(4..=18) {
        let data = fetched(client.call(version, &fetch_request(&topic, 0, 0)).await);
        assert_eq!((data.error_code, data.high_watermark), (ErrorCode::NONE, end), "version {version}");
        assert_eq!(records(&data), expected, "version {version}");
    }
}

/// One partition's answer to records as they are.
async fn answer_to(version: i16, acks: i16, records: impl Into<Option<Bytes>>) -> PartitionProduceResponse {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let answer = produced(client.call(version, &produce_request(&topic, 0, acks, records.into())).await);
    let end = cluster.log("t", 0).unwrap().high_watermark;
    assert_eq!(end > 0, answer.error_code.is_ok(), "what is refused is not appended: {answer:?}");
    answer
}

fn with_byte(position: usize, byte: u8) -> Bytes {
    let mut bytes = BytesMut::from(&batch(["a value"])[..]);
    bytes[position] = byte;
    bytes.freeze()
}

#[tokio::test]
async fn batches_that_are_wrong_are_refused_with_kafkas_codes() {
    let two = Bytes::from([batch(["a"]), batch(["b"])].concat());
    let cases = [
        ("good", Some(batch(["a"])), ErrorCode::NONE),
        ("null", None, ErrorCode::INVALID_RECORD),
        ("empty", Some(Bytes::new()), ErrorCode::INVALID_RECORD),
        ("cut", Some(batch(["a"]).slice(..60)), ErrorCode::INVALID_RECORD),
        ("two batches", Some(two), ErrorCode::INVALID_RECORD),
        ("base offset", Some(with_byte(7, 5)), ErrorCode::INVALID_RECORD),
        ("magic 1", Some(with_byte(16, 1)), ErrorCode::INVALID_RECORD),
        ("magic 3", Some(with_byte(16, 3)), ErrorCode::CORRUPT_MESSAGE),
        ("bit flip in a record", Some(with_byte(70, 0x5a)), ErrorCode::CORRUPT_MESSAGE),
        ("bit flip in the header", Some(with_byte(57, 1)), ErrorCode::CORRUPT_MESSAGE),
        ("negative length", Some(with_byte(8, 0x80)), ErrorCode::CORRUPT_MESSAGE),
    ];
    for (case, records, code) in cases {
        let answer = answer_to(9, -1, records).await;
        assert_eq!(answer.error_code, code, "{case}");
        assert_eq!(answer.base_offset, if code.is_ok() { 0 } else { -1 }, "{case}");
    }
}

#[tokio::test]
async fn acks_other_than_0_1_and_all_are_invalid() {
    for acks in [2, -2, 100] {
        let answer = answer_to(9, acks, batch(["a"])).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_REQUIRED_ACKS);
    }
}

#[tokio::test]
async fn a_record_from_the_future_is_refused_and_named() {
    let hour = 3_600_000;
    let records = timed_batch([(WALL_MS, "now"), (WALL_MS + 2 * hour, "later")]);
    let answer = answer_to(9, -1, records).await;
    let named: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    let expected = match profile() {
        // There the timestamp may be any time in the future.
        Profile::Kafka2_8 | Profile::Kafka3_9 | Profile::Redpanda => (ErrorCode::NONE, vec![]),
        // Version 8 came with the names.
        Profile::EventHubs => (ErrorCode::INVALID_TIMESTAMP, vec![]),
        _ => (ErrorCode::INVALID_TIMESTAMP, vec![1]),
    };
    assert_eq!((answer.error_code, named), expected);
}

#[tokio::test]
async fn an_append_elsewhere_than_at_the_leader_names_the_leader_from_version_10_on() {
    let cluster = cluster(3).await;
    cluster.create_topic("t", 1, 3).unwrap();
    let topic = topic(&cluster, "t");
    cluster.move_leader("t", 0, 2).unwrap();
    let epoch = cluster.move_leader("t", 0, 3).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    for version in client.versions::<ProduceRequest>(3..=13) {
        let response = client.call(version, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
        let endpoints = response.node_endpoints.clone();
        let answer = produced(response);
        assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        if version < 10 {
            assert!(endpoints.is_empty());
            continue;
        }
        assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (3, epoch));
        let endpoint = only(endpoints);
        assert_eq!((endpoint.node_id, &*endpoint.host, endpoint.port), (3, "broker-3", 9092));
    }
    assert_eq!(cluster.log("t", 0).unwrap().high_watermark, 0);
}

#[tokio::test]
async fn unknown_topics_partitions_and_ids_have_their_codes() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let known = topic(&cluster, "t");
    let unknown = TopicName { name: "no".to_owned(), id: rskafka_protocol::Uuid([1; 16]) };
    let mut client = RawClient::pipe(&cluster, 1).await;
    for (version, topic, partition, code) in [
        (12, &unknown, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (13, &unknown, 0, ErrorCode::UNKNOWN_TOPIC_ID),
        (12, &known, 1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (13, &known, -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let request = produce_request(topic, partition, -1, Some(batch(["a"])));
        let by_id = client.spoken::<ProduceRequest>(version) >= 13;
        let code = if by_id { code } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        assert_eq!(produced(client.call(version, &request).await).error_code, code);
    }
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_an_error_ends_the_connection() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.send(9, &produce_request(&topic, 0, 0, Some(batch(["silent"])))).await;
    let answer = produce(&mut client, &topic, 0, batch(["loud"])).await;
    assert_eq!(answer.base_offset, 1, "the silent one is in the log, and the next answer is the next's");
    client.send(9, &produce_request(&topic, 7, 0, Some(batch(["nowhere"])))).await;
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_log_append_time_stamps_batches_with_the_brokers_clock() {
    let cluster = cluster(1).await;
    cluster.create_topic_with("t", 1, 1, [("message.timestamp.type", "LogAppendTime")]).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let answer = produce(&mut client, &topic, 0, timed_batch([(5, "a"), (7, "b")])).await;
    let told = if profile() == Profile::Redpanda { -1 } else { WALL_MS + 90_000 };
    assert_eq!(answer.log_append_time_ms, told);
    let stored = cluster.log("t", 0).unwrap();
    let times: Vec<_> = stored.records().unwrap().iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [WALL_MS + 90_000; 2], "and the batch's CRC is right, or it would not decode");
}

#[tokio::test]
async fn topic_configs_bound_batches_and_replicas() {
    let cluster = cluster(3).await;
    cluster.create_topic_with("small", 1, 1, [("max.message.bytes", "100")]).unwrap();
    cluster.create_topic_with("compacted", 1, 1, [("cleanup.policy", "compact")]).unwrap();
    cluster.create_topic_with("strict", 1, 3, [("min.insync.replicas", "3")]).unwrap();
    let mut refused = Vec::new();
    for (name, acks, records) in [
        ("small", -1, batch(["a".repeat(100)])),
        ("compacted", -1, keyless_batch()),
        ("strict", -1, batch(["a"])),
        ("strict", 1, batch(["a"])),
    ] {
        let topic = topic(&cluster, name);
        if name == "strict" {
            let leader = cluster.leader(name, 0).unwrap().unwrap();
            cluster.stop_broker(leader).await.unwrap();
            cluster.stop_broker(leader).await.unwrap();
        }
        let leader = cluster.leader(name, 0).unwrap().unwrap();
        let mut client = RawClient::pipe(&cluster, leader).await;
        let answer = produced(client.call(9, &produce_request(&topic, 0, acks, Some(records))).await);
        refused.push(answer.error_code);
    }
    let keyless = if profile() == Profile::Redpanda { ErrorCode::NONE } else { ErrorCode::INVALID_RECORD };
    let expected = [ErrorCode::MESSAGE_TOO_LARGE, keyless, too_few_in_sync().0, ErrorCode::NONE];
    assert_eq!(refused, expected);
}

fn keyless_batch() -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(WALL_MS, None, Some(b"a"))).unwrap();
    builder.build().unwrap().into_bytes()
}

#[tokio::test]
async fn a_capped_log_drops_its_oldest_batches_and_says_where_it_starts() {
    let builder = fake().in_memory().retain_bytes_per_partition(3000);
    let cluster = builder.start().await.unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut last = None;
    for _ in 0..10 {
        last = Some(produce(&mut client, &topic, 0, batch(["a".repeat(900)])).await);
    }
    let stored = cluster.log("t", 0).unwrap();
    assert_eq!((stored.log_start_offset, stored.high_watermark, stored.batches.len()), (7, 10, 3));
    assert_eq!(last.unwrap().log_start_offset, 7);
}
