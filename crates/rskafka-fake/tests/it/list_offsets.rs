//! ListOffsets: the ends of a log, and records by time.

use rskafka_fake::Profile;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsTopic, MAX_TIMESTAMP,
};

use crate::support::*;

fn request(timestamp: i64, current_leader_epoch: i32) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition { partition_index: 0, current_leader_epoch, timestamp };
    let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![asked] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

async fn ask(
    client: &mut RawClient,
    version: i16,
    request: &ListOffsetsRequest,
) -> ListOffsetsPartitionResponse {
    only(only(client.call(version, request).await.topics).partitions)
}

/// The version from which on a special timestamp is known.
fn since(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL_TIMESTAMP => 8,
        LATEST_TIERED_TIMESTAMP => 9,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP => 11,
        ..EARLIEST_PENDING_UPLOAD_TIMESTAMP => 99,
        _ => 1,
    }
}

/// The answer to an unknown special timestamp. Kafka 2.8 takes it for a time long ago.
fn unknown() -> ErrorCode {
    if profile() == Profile::Kafka2_8 { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_VERSION }
}

#[tokio::test]
async fn offsets_are_found_by_ends_and_by_time() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    produce(&mut client, &topic, 0, timed_batch([(1000, "0"), (3000, "1"), (2000, "2")])).await;
    produce(&mut client, &topic, 0, timed_batch([(500, "3"), (4000, "4"), (4000, "5")])).await;
    for (timestamp, found, offset) in [
        (LATEST_TIMESTAMP, -1, 6),
        (EARLIEST_TIMESTAMP, -1, 0),
        (EARLIEST_LOCAL_TIMESTAMP, -1, 0),
        (MAX_TIMESTAMP, 4000, 4),
        (LATEST_TIERED_TIMESTAMP, -1, -1),
        (EARLIEST_PENDING_UPLOAD_TIMESTAMP, -1, -1),
        (0, 1000, 0),
        (1001, 3000, 1),
        (2500, 3000, 1),
        (3001, 4000, 4),
        (4001, -1, -1),
    ] {
        let answer = ask(&mut client, 11, &request(timestamp, -1)).await;
        let expected = match client.spoken::<ListOffsetsRequest>(11) >= since(timestamp) {
            true => (ErrorCode::NONE, found, offset),
            false if profile() == Profile::Kafka2_8 => (unknown(), 1000, 0),
            false => (unknown(), -1, -1),
        };
        assert_eq!((answer.error_code, answer.timestamp, answer.offset), expected, "at {timestamp}");
    }
    // Below the log's start nothing is found.
    cluster.delete_records("t", 0, 2).unwrap();
    for (timestamp, offset) in [(EARLIEST_TIMESTAMP, 2), (0, 2), (2500, 4)] {
        assert_eq!(ask(&mut client, 11, &request(timestamp, -1)).await.offset, offset);
    }
}

#[tokio::test]
async fn each_version_answers_and_knows_its_own_special_times() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    for version in client.versions::<ListOffsetsRequest>(1..=11) {
        for timestamp in (-7..=-1).rev() {
            let answer = ask(&mut client, version, &request(timestamp, -1)).await;
            let code = if version >= since(timestamp) { ErrorCode::NONE } else { unknown() };
            assert_eq!(answer.error_code, code, "version {version}, {timestamp}");
        }
    }
}

#[tokio::test]
async fn the_epoch_of_what_is_found_and_of_the_ends_is_told() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 2).unwrap();
    let topic = topic(&cluster, "t");
    for round in 0..3 {
        let leader = cluster.leader("t", 0).unwrap().unwrap();
        let mut client = RawClient::pipe(&cluster, leader).await;
        produce(&mut client, &topic, 0, timed_batch([(1000 * (round + 1), "a")])).await;
        cluster.move_leader("t", 0, 3 - leader).unwrap();
    }
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    let mut client = RawClient::pipe(&cluster, leader).await;
    let mut epochs = vec![(EARLIEST_TIMESTAMP, 0), (LATEST_TIMESTAMP, 3), (1500, 1)];
    if client.spoken::<ListOffsetsRequest>(7) >= since(MAX_TIMESTAMP) {
        epochs.push((MAX_TIMESTAMP, 2));
    }
    for (timestamp, epoch) in epochs {
        assert_eq!(ask(&mut client, 7, &request(timestamp, 3)).await.leader_epoch, epoch, "at {timestamp}");
    }
    for (epoch, code) in [(2, ErrorCode::FENCED_LEADER_EPOCH), (4, ErrorCode::UNKNOWN_LEADER_EPOCH)] {
        assert_eq!(ask(&mut client, 7, &request(-1, epoch)).await.error_code, code);
    }
    let mut follower = RawClient::pipe(&cluster, 3 - leader).await;
    let answer = ask(&mut follower, 7, &request(-1, -1)).await;
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}
