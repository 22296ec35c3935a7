//! What readers of committed data are given, and regions of a log without records.

use rskafka_fake::{ControlError, FakeCluster, Profile};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::fetch::{FetchRequest, PartitionData};
use rskafka_protocol::messages::list_offsets::{
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rskafka_protocol::records::{Flag, NewRecord, RecordBatchBuilder, batches};

use crate::support::*;

async fn with_topic(profile: Profile) -> (FakeCluster, TopicName, RawClient) {
    let cluster = FakeCluster::builder().profile(profile).in_memory().start().await.unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let client = RawClient::pipe(&cluster, 1).await;
    (cluster, topic, client)
}

async fn read(client: &mut RawClient, topic: &TopicName, offset: i64, isolation_level: i8) -> PartitionData {
    let request = FetchRequest { isolation_level, ..fetch_request(topic, 0, offset) };
    fetched(client.call(6, &request).await)
}

fn aborted(data: &PartitionData) -> Vec<(i64, i64)> {
    let list = data.aborted_transactions.iter().flatten();
    list.map(|one| (one.producer_id, one.first_offset)).collect()
}

#[tokio::test]
async fn committed_reads_stop_where_a_transaction_is_undecided_in_every_profile() {
    for profile in Profile::ALL {
        let (cluster, topic, mut client) = with_topic(profile).await;
        assert_eq!(cluster.append_in_transaction("t", 0, (1, 0), ["a", "b"]).unwrap(), 0);
        assert_eq!(cluster.append_in_transaction("t", 0, (2, 0), ["c"]).unwrap(), 2);
        let data = read(&mut client, &topic, 0, 1).await;
        assert_eq!((data.high_watermark, data.last_stable_offset), (3, 0), "{profile}");
        assert!(records(&data).is_empty());
        assert_eq!(records(&read(&mut client, &topic, 0, 0).await).len(), 3, "{profile}");

        assert_eq!(cluster.end_transaction("t", 0, (1, 0), false).unwrap(), 3);
        let data = read(&mut client, &topic, 0, 1).await;
        assert_eq!((data.last_stable_offset, aborted(&data)), (2, vec![(1, 0)]), "{profile}");
        assert_eq!(records(&data).len(), 2, "the reader is to drop them");
        let data = read(&mut client, &topic, 2, 1).await;
        assert_eq!(
            (records(&data).len(), aborted(&data)),
            (0, vec![]),
            "without records there is none to drop"
        );
        for (isolation_level, end) in [(0, 4), (1, 2)] {
            let asked = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
            let asked = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![asked] };
            let request =
                ListOffsetsRequest { replica_id: -1, isolation_level, topics: vec![asked], timeout_ms: 0 };
            let found = only(only(client.call(2, &request).await.topics).partitions);
            assert_eq!(found.offset, end, "{profile}");
        }

        assert_eq!(cluster.end_transaction("t", 0, (2, 0), false).unwrap(), 4);
        let data = read(&mut client, &topic, 0, 1).await;
        let mut order = aborted(&data);
        if profile == Profile::Redpanda {
            assert_eq!(order, [(2, 2), (1, 0)], "in any order");
            order.reverse();
        }
        assert_eq!((data.last_stable_offset, order), (5, vec![(1, 0), (2, 2)]), "{profile}");
        assert_eq!(aborted(&read(&mut client, &topic, 4, 1).await), [(2, 2)], "{profile}");
        assert!(aborted(&read(&mut client, &topic, 0, 0).await).is_empty(), "{profile}");
    }
}

#[tokio::test]
async fn markers_say_what_became_of_a_transaction_and_epochs_go_on() {
    let (cluster, topic, mut client) = with_topic(profile()).await;
    for (committed, expected) in [(true, 1), (false, 0)] {
        cluster.append_in_transaction("t", 0, (7, 3), ["value"]).unwrap();
        let marker = cluster.end_transaction("t", 0, (7, 3), committed).unwrap();
        let data = read(&mut client, &topic, marker, 1).await;
        let batch = batches(data.records.as_ref().unwrap()).next().unwrap().unwrap();
        assert!(batch.is_control() && batch.header().attributes.has(Flag::Transactional));
        assert_eq!(
            (batch.header().producer_id, batch.header().producer_epoch, batch.header().base_sequence),
            (7, 3, -1)
        );
        let record = batch.records().next().unwrap().unwrap();
        // Version and type (Kafka class `ControlRecordType`); version and coordinator's epoch.
        let (key, value) = (&[0, 0, 0, expected][..], &[0; 6][..]);
        assert_eq!((record.key, record.value), (Some(key), Some(value)));
    }
    assert_eq!(cluster.log("t", 0).unwrap().values().unwrap(), ["value", "value"]);
    assert!(matches!(cluster.append_in_transaction("t", 0, (7, 3), [""; 0]), Err(ControlError::NoRecords)));
    assert!(matches!(
        cluster.end_transaction("no", 0, (7, 3), true),
        Err(ControlError::UnknownPartition { .. })
    ));
}

#[tokio::test]
async fn an_end_that_is_not_replicated_decides_nothing() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 2).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    cluster.append_in_transaction("t", 0, (1, 0), ["a"]).unwrap();
    cluster.hold_replica("t", 0, 2).unwrap();
    cluster.end_transaction("t", 0, (1, 0), true).unwrap();
    assert_eq!(cluster.log("t", 0).unwrap().last_stable_offset, 0);
    cluster.release_replica("t", 0, 2).unwrap();
    assert_eq!(cluster.log("t", 0).unwrap().last_stable_offset, 2);
    // A truncation removes the end marker, so the transaction is open again.
    cluster.truncate("t", 0, 1).unwrap();
    assert_eq!(cluster.log("t", 0).unwrap().last_stable_offset, 0);
}

#[tokio::test]
async fn compaction_leaves_offsets_without_records_and_the_next_offset_comes_from_the_batch() {
    let (cluster, topic, mut client) = with_topic(profile()).await;
    let keyed = |records: &[(&str, &str)], producer: Option<i32>| {
        let mut builder = RecordBatchBuilder::new();
        for (key, value) in records {
            builder.push(NewRecord::new(1000, Some(key.as_bytes()), Some(value.as_bytes()))).unwrap();
        }
        if let Some(sequence) = producer {
            builder.set_producer(9, 0, sequence);
        }
        builder.build().unwrap().into_bytes()
    };
    for records in [
        keyed(&[("a", "1"), ("b", "1"), ("a", "2")], None),
        keyed(&[("a", "3")], None),
        keyed(&[("c", "1")], Some(0)),
        keyed(&[("c", "2"), ("a", "4")], Some(1)),
        keyed(&[("c", "3")], None),
    ] {
        assert_eq!(produce(&mut client, &topic, 0, records).await.error_code, ErrorCode::NONE);
    }
    cluster.compact("t", 0).unwrap();
    let data = fetch(&mut client, &topic, 0, 0).await;
    let value = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
    assert_eq!(records(&data), [(1, value("1")), (6, value("4")), (7, value("3"))]);
    let left: Vec<_> = batches(data.records.as_ref().unwrap()).map(Result::unwrap).collect();
    let places: Vec<_> =
        left.iter().map(|batch| (batch.base_offset(), batch.next_offset(), batch.record_count())).collect();
    // The second batch is gone. The third keeps its header, so that its sequence number is remembered.
    assert_eq!(places, [(0, 3, 1), (4, 5, 0), (5, 7, 1), (7, 8, 1)]);
    assert_eq!(left[1].header().last_sequence(), 0);
    // The rest can be read from any offset, and the log accepts appends.
    for (offset, first) in [(2, 0), (3, 4), (4, 4), (6, 5)] {
        let data = fetch(&mut client, &topic, 0, offset).await;
        let batch = batches(data.records.as_ref().unwrap()).next().unwrap().unwrap();
        assert_eq!(batch.base_offset(), first, "offset {offset}");
    }
    assert_eq!(produce(&mut client, &topic, 0, keyed(&[("d", "1")], None)).await.base_offset, 8);
}
