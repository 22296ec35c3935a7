//! Offsets that are no longer in the log: deleted or truncated.

use std::time::Duration;

use rskafka_fake::Profile;
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::list_offsets::{
    EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rskafka_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::Stage;
use crate::support::*;

impl Stage {
    /// The log's bounds as ListOffsets tells them.
    async fn bounds(&self, client: &mut RawClient) -> (i64, i64) {
        let mut bounds = [0; 2];
        for (bound, timestamp) in bounds.iter_mut().zip([EARLIEST_TIMESTAMP, LATEST_TIMESTAMP]) {
            let asked = ListOffsetsPartition { timestamp, ..Default::default() };
            let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![asked] };
            let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
            *bound = only(only(self.call(client, &request).await.topics).partitions).offset;
        }
        (bounds[0], bounds[1])
    }
}

/// How the first records of a log are removed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trim {
    Time,
    Size,
    Request,
}

#[tokio::test(start_paused = true)]
async fn an_offset_below_the_log_start_is_out_of_range_after_retention_and_delete_records() {
    for profile in Profile::ALL {
        for trim in [Trim::Time, Trim::Size, Trim::Request] {
            let stage = Stage::new(profile, 1).await;
            let size = batch(["value"]).len().to_string();
            let topic = stage.topic_with(1, &[("retention.ms", "3600000")]);
            let mut client = stage.client(1).await;
            for n in 0..4 {
                assert_eq!(stage.append(&mut client, &topic, batch(["value"])).await, Ok(n));
            }
            let (start, end) = match trim {
                Trim::Time => {
                    tokio::time::sleep(Duration::from_secs(3600 + 300)).await;
                    (4, 4)
                }
                Trim::Size => {
                    stage.cluster.delete_topic("t").unwrap();
                    let topic = stage.topic_with(1, &[("retention.bytes", &size)]);
                    for _ in 0..4 {
                        stage.append(&mut client, &topic, batch(["value"])).await.unwrap();
                    }
                    (3, 4)
                }
                Trim::Request => {
                    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 2 }];
                    let topics = vec![DeleteRecordsTopic { name: "t".to_owned(), partitions }];
                    let request = DeleteRecordsRequest { topics, timeout_ms: 1000 };
                    match stage.newest::<DeleteRecordsRequest>() {
                        Some(version) => {
                            let answer = client.call(version, &request).await;
                            assert_eq!(only(only(answer.topics).partitions).low_watermark, 2, "{profile}");
                        }
                        // Event Hubs has no such request.
                        None => stage.cluster.delete_records("t", 0, 2).unwrap(),
                    }
                    (2, 4)
                }
            };
            // It was idle for an hour.
            let mut client = stage.client(1).await;
            let topic = crate::support::topic(&stage.cluster, "t");
            for (offset, is_there) in [(start - 1, false), (start, true), (end, true), (end + 1, false)] {
                let data = stage.fetch(&mut client, &topic, offset).await;
                let code = if is_there { ErrorCode::NONE } else { ErrorCode::OFFSET_OUT_OF_RANGE };
                assert_eq!(data.error_code, code, "{profile} {trim:?}: {offset}");
                if !is_there {
                    assert_eq!((data.high_watermark, data.log_start_offset), (-1, -1), "without bounds");
                }
            }
            assert_eq!(
                stage.bounds(&mut client).await,
                (start, end),
                "{profile} {trim:?}: they are asked for"
            );
            let next = stage.append(&mut client, &topic, batch(["value"])).await;
            assert_eq!(next, Ok(end), "{profile}: offsets go on");
        }
    }
}

/// A log that lost the offsets 2 and 3 of its former epoch in an unclean election, and has another record
/// at 2; with the present leader's client and the former epoch.
async fn truncated(profile: Profile) -> (Stage, TopicName, RawClient, i32) {
    let stage = Stage::new(profile, 3).await;
    let topic = stage.topic(3);
    let epoch = stage.cluster.leader_epoch("t", 0).unwrap();
    let mut client = stage.client(1).await;
    stage.append(&mut client, &topic, batch(["a", "b"])).await.unwrap();
    stage.cluster.hold_replica("t", 0, 2).unwrap();
    stage.cluster.shrink_isr("t", 0, 2).unwrap();
    assert_eq!(stage.append(&mut client, &topic, batch(["lost", "lost"])).await, Ok(2));
    stage.cluster.stop_broker(1).await.unwrap();
    stage.cluster.elect_unclean("t", 0, 2).unwrap();
    let mut client = stage.client(2).await;
    assert_eq!(stage.append(&mut client, &topic, batch(["new"])).await, Ok(2), "{profile}");
    stage.cluster.start_broker(1).await.unwrap();
    for broker in 1..=3 {
        let log = stage.cluster.log_at("t", 0, broker).unwrap();
        assert_eq!(log.values().unwrap(), ["a", "b", "new"], "{profile}: all copies");
    }
    (stage, topic, client, epoch)
}

#[tokio::test]
async fn after_a_truncation_by_an_unclean_election_a_reader_is_told_where_the_logs_diverge() {
    for profile in Profile::ALL {
        let (stage, topic, mut client, epoch) = truncated(profile).await;
        // Fetch says so from version 12 on, which Redpanda and Event Hubs do not have.
        if stage.newest::<FetchRequest>() >= Some(12) {
            for offset in [3, 4, 1000] {
                let mut request = fetch_request(&topic, 0, offset);
                request.topics[0].partitions[0].last_fetched_epoch = epoch;
                let data = fetched(stage.call(&mut client, &request).await);
                let diverging = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
                assert_eq!((data.error_code, diverging), (ErrorCode::NONE, (epoch, 2)), "{profile}");
                assert!(records(&data).is_empty(), "{profile}: and gives nothing");
            }
        }
        // Event Hubs does not have this request either.
        if stage.newest::<OffsetForLeaderEpochRequest>().is_some() {
            let asked = OffsetForLeaderPartition { leader_epoch: epoch, ..Default::default() };
            let asked = OffsetForLeaderTopic { topic: "t".to_owned(), partitions: vec![asked] };
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![asked] };
            let end = only(only(stage.call(&mut client, &request).await.topics).partitions);
            assert_eq!((end.leader_epoch, end.end_offset), (epoch, 2), "{profile}");
        }
    }
}

#[tokio::test]
async fn after_a_truncation_a_reader_without_epochs_reads_other_records_or_is_out_of_range() {
    for profile in Profile::ALL {
        let (stage, topic, mut client, _) = truncated(profile).await;
        let read = records(&stage.fetch(&mut client, &topic, 2).await);
        assert_eq!(
            read,
            [(2, bytes::Bytes::from_static(b"new"))],
            "{profile}: another record at that offset"
        );
        let data = stage.fetch(&mut client, &topic, 4).await;
        assert_eq!(data.error_code, ErrorCode::OFFSET_OUT_OF_RANGE, "{profile}");
        assert_eq!(stage.bounds(&mut client).await, (0, 3), "{profile}");
    }
}
