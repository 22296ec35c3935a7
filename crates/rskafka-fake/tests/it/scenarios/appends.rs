//! Appends that are throttled, refused or late, alone and among others in flight.

use std::time::Duration;

use rskafka_fake::{FakeCluster, Fault, Profile};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Stage, numbered};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_throttled_produce_is_written_once_and_its_connection_is_silent_for_as_long_as_said() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let version = stage.newest::<ProduceRequest>().unwrap();
        let throttle = Duration::from_secs(300);
        stage.cluster.inject(Fault::throttle(throttle).on(ApiKey::PRODUCE));
        let start = Instant::now();
        let answer = client.call(version, &produce_request(&topic, 0, -1, Some(numbered(7, 0, 0)))).await;
        assert_eq!((start.elapsed(), answer.throttle_time_ms), (Duration::ZERO, 300_000), "{profile}");
        assert_eq!(produced(answer).error_code, ErrorCode::NONE, "{profile}: with the result");
        // Longer than any deadline: the broker reads nothing from that connection meanwhile.
        let next = stage.send_append(&mut client, &topic, numbered(7, 0, 1)).await;
        tokio::time::sleep(throttle - Duration::from_millis(1)).await;
        assert_eq!(stage.values(), ["0"], "{profile}");
        assert_eq!(stage.appended(&mut client, next).await.base_offset, 1, "{profile}");
        assert_eq!(start.elapsed(), throttle, "{profile}");
        // Sent again on another connection, it is not written again.
        let mut other = stage.client(1).await;
        assert_eq!(stage.append(&mut other, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
        assert_eq!(stage.values(), ["0", "1"], "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_produce_above_the_quota_is_written_all_the_same_and_throttled() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let version = stage.newest::<ProduceRequest>().unwrap();
        stage.cluster.set_produce_quota(Some(1000));
        let mut told = 0;
        let start = Instant::now();
        for n in 0..4 {
            let request = produce_request(&topic, 0, -1, Some(batch([vec![n; 5000]])));
            let answer = client.call(version, &request).await;
            told += answer.throttle_time_ms;
            assert_eq!(produced(answer).base_offset, i64::from(n), "{profile}");
        }
        client.call(1, &MetadataRequest::default()).await;
        assert!(told > 1000, "{profile}: {told}");
        assert_eq!(start.elapsed(), Duration::from_millis(told as u64), "{profile}: it waits as it says");
    }
}

#[tokio::test]
async fn when_the_second_of_five_in_flight_fails_those_behind_it_are_out_of_order_until_it_is_sent_again() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        stage.cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).skip(1));
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut sent = Vec::new();
            for sequence in 0..5 {
                sent.push(stage.send_append(&mut client, &topic, numbered(7, 0, sequence)).await);
            }
            for id in sent {
                answers.push(stage.appended(&mut client, id).await.error_code);
            }
        }
        let (gap, good) = (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::NONE);
        let first = [good, ErrorCode::NOT_ENOUGH_REPLICAS, gap, gap, gap];
        assert_eq!(answers, [first, [good; 5]].concat(), "{profile}");
        assert_eq!(stage.values(), ["0", "1", "2", "3", "4"], "{profile}");
    }
}

/// A cluster whose partition needs two in sync, of which only the leader follows.
async fn alone(profile: Profile) -> (Stage, TopicName, RawClient) {
    let stage = Stage::new(profile, 3).await;
    let topic = stage.topic_with(3, &[("min.insync.replicas", "2")]);
    for broker in [2, 3] {
        stage.cluster.hold_replica("t", 0, broker).unwrap();
    }
    let client = stage.client(1).await;
    (stage, topic, client)
}

fn give_up_on_followers(stage: &Stage) {
    for broker in [2, 3] {
        stage.cluster.shrink_isr("t", 0, broker).unwrap();
    }
}

fn let_them_follow(stage: &Stage) {
    for broker in [2, 3] {
        stage.cluster.release_replica("t", 0, broker).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn not_enough_replicas_means_not_written_and_the_same_sequence_is_taken_later() {
    for profile in Profile::ALL {
        let (stage, topic, mut client) = alone(profile).await;
        give_up_on_followers(&stage);
        // Redpanda refuses later: the leader has appended by then.
        let (told, written) = match profile {
            Profile::Redpanda => (ErrorCode::REQUEST_TIMED_OUT, 1),
            _ => (ErrorCode::NOT_ENOUGH_REPLICAS, 0),
        };
        for _ in 0..2 {
            let answer = stage.append(&mut client, &topic, numbered(7, 0, 0)).await;
            assert_eq!(answer, Err(told), "{profile}");
        }
        let log = stage.cluster.log("t", 0).unwrap();
        assert_eq!((log.end_offset, log.high_watermark), (written, 0), "{profile}");
        let_them_follow(&stage);
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn not_enough_replicas_after_append_means_written_and_a_retry_gets_its_offset() {
    for profile in Profile::ALL {
        let (stage, topic, mut client) = alone(profile).await;
        // Since KIP-966 it is not committed with too few replicas in sync, so the answer waits until its timeout.
        let (told, committed) = match profile {
            Profile::Kafka3_9 | Profile::Kafka4_4 | Profile::Redpanda => (ErrorCode::REQUEST_TIMED_OUT, 0),
            _ => (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1),
        };
        let id = stage.send_append(&mut client, &topic, numbered(7, 0, 0)).await;
        stage.appends_taken(1).await;
        give_up_on_followers(&stage);
        let code = stage.appended(&mut client, id).await.error_code;
        assert_eq!(code, told, "{profile}");
        let log = stage.cluster.log("t", 0).unwrap();
        assert_eq!((log.end_offset, log.high_watermark), (1, committed), "{profile}");
        let_them_follow(&stage);
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
        assert_eq!(stage.values(), ["0"], "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_timed_out_means_written_at_the_leader_and_a_retry_waits_for_the_same_offset() {
    for profile in Profile::ALL {
        let (stage, topic, mut client) = alone(profile).await;
        for _ in 0..2 {
            let start = Instant::now();
            let answer = stage.append(&mut client, &topic, numbered(7, 0, 0)).await;
            assert_eq!(answer, Err(ErrorCode::REQUEST_TIMED_OUT), "{profile}");
            assert_eq!(start.elapsed(), Duration::from_secs(1), "{profile}: the request's own timeout");
        }
        let log = stage.cluster.log("t", 0).unwrap();
        assert_eq!((log.end_offset, log.high_watermark), (1, 0), "{profile}");
        let_them_follow(&stage);
        assert_eq!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await, Ok(0), "{profile}");
        assert_eq!(stage.values(), ["0"], "{profile}");
        // Another leader takes over that had not replicated the batch: it is lost.
        let (stage, topic, mut client) = alone(profile).await;
        give_up_on_followers(&stage);
        assert_eq!(
            stage.cluster.elect_unclean("t", 0, 2).unwrap(),
            stage.cluster.leader_epoch("t", 0).unwrap()
        );
        assert!(stage.append(&mut client, &topic, numbered(7, 0, 0)).await.is_err(), "{profile}");
        assert!(stage.values().is_empty(), "{profile}");
    }
}

#[tokio::test]
async fn message_too_large_and_invalid_record_refuse_that_batch_only_and_use_up_no_sequence() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic_with(1, &[("max.message.bytes", "500")]);
        stage.cluster.create_topic_with("u", 1, 1, [("cleanup.policy", "compact")]).unwrap();
        let compacted = crate::support::topic(&stage.cluster, "u");
        let mut client = stage.client(1).await;
        let of = |sequence: i32, key: Option<&[u8]>, value: &[u8]| {
            let mut builder = RecordBatchBuilder::new();
            builder.push(NewRecord::new(WALL_MS, key, Some(value))).unwrap();
            builder.set_producer(7, 0, sequence);
            builder.build().unwrap().into_bytes()
        };
        let data = |topic: &TopicName, records: bytes::Bytes| TopicProduceData {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records) }],
        };
        let mut results = Vec::new();
        for (first, second) in [
            (of(0, None, &[b'x'; 600]), of(0, Some(b"key"), b"0")),
            (of(0, None, b"0"), of(1, None, b"without key")),
            (of(1, None, b"1"), of(1, Some(b"key"), b"1")),
        ] {
            let topic_data = vec![data(&topic, first), data(&compacted, second)];
            let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..Default::default() };
            let answer = stage.call(&mut client, &request).await;
            let codes = answer.responses.iter().map(|topic| topic.partition_responses[0].error_code);
            results.push(codes.collect::<Vec<_>>());
        }
        // Redpanda takes a record without a key; the batch after it is a second one of that sequence number.
        let keyless = if profile == Profile::Redpanda { ErrorCode::NONE } else { ErrorCode::INVALID_RECORD };
        let expected = [
            [ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::NONE],
            [ErrorCode::NONE, keyless],
            [ErrorCode::NONE, ErrorCode::NONE],
        ];
        assert_eq!(results, expected, "{profile}");
        assert_eq!(stage.values(), ["0", "1"], "{profile}");
    }
}

#[tokio::test]
async fn a_request_larger_than_the_broker_takes_ends_the_connection() {
    for profile in Profile::ALL {
        let builder = FakeCluster::builder().in_memory().max_request_bytes(10_000);
        let stage = Stage::with(profile, builder).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        assert_eq!(stage.append(&mut client, &topic, batch([[0; 9000]])).await, Ok(0), "{profile}");
        stage.send_append(&mut client, &topic, batch([[0; 11_000]])).await;
        assert!(client.is_closed().await, "{profile}");
        assert_eq!(stage.cluster.log("t", 0).unwrap().end_offset, 1, "{profile}");
    }
}
