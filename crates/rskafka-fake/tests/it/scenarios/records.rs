//! Batches that are damaged, old or cut off, and regions of a log without records.

use bytes::{Bytes, BytesMut};
use rskafka_fake::{Fault, Profile};
use rskafka_protocol::messages::fetch::{FetchRequest, PartitionData};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder, batches};
use rskafka_protocol::{ApiKey, ErrorCode};

use super::Stage;
use crate::support::*;

/// Where a batch has its magic, and where its first record begins.
const MAGIC: usize = 16;
const RECORDS: usize = 61;

fn with_byte(position: usize, byte: u8) -> Bytes {
    let mut bytes = BytesMut::from(&batch(["a value"])[..]);
    bytes[position] = byte;
    bytes.freeze()
}

#[tokio::test]
async fn a_batch_with_a_bad_crc_or_of_magic_0_or_1_is_refused() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        for (records, code) in [
            (with_byte(RECORDS + 9, 0x5a), ErrorCode::CORRUPT_MESSAGE),
            (with_byte(MAGIC + 1, 0x5a), ErrorCode::CORRUPT_MESSAGE),
            (with_byte(MAGIC, 0), ErrorCode::INVALID_RECORD),
            (with_byte(MAGIC, 1), ErrorCode::INVALID_RECORD),
        ] {
            assert_eq!(stage.append(&mut client, &topic, records).await, Err(code), "{profile}");
        }
        assert_eq!(stage.cluster.log("t", 0).unwrap().end_offset, 0, "{profile}");
    }
}

#[tokio::test]
async fn a_bad_crc_or_an_old_magic_in_what_is_read_is_provoked_by_turning_bits_over() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        stage.append(&mut client, &topic, batch(["value"])).await.unwrap();
        let version = stage.newest::<FetchRequest>().unwrap();
        client.send(version, &fetch_request(&topic, 0, 0)).await;
        let frame = client.frame().await.unwrap();
        let stored = stage.cluster.log("t", 0).unwrap().batches[0].clone();
        let place = frame.windows(stored.len()).position(|bytes| bytes == stored).unwrap();
        for (position, mask) in [(MAGIC, 2 ^ 1), (MAGIC, 2), (RECORDS + 5, 0x10)] {
            // Positions of the fault count the length prefix too.
            stage.cluster.inject(Fault::flip(4 + place + position, mask).on(ApiKey::FETCH));
            let data = stage.fetch(&mut client, &topic, 0).await;
            let read = batches(data.records.as_ref().unwrap()).next().unwrap();
            assert!(read.is_err(), "{profile}: {position}");
        }
        assert_eq!(records(&stage.fetch(&mut client, &topic, 0).await).len(), 1, "{profile}");
    }
}

#[tokio::test]
async fn a_last_batch_is_cut_off_and_a_first_one_is_larger_than_asked() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let size = batch([[b'x'; 200]]).len() as i32;
        for _ in 0..3 {
            stage.append(&mut client, &topic, batch([[b'x'; 200]])).await.unwrap();
        }
        for (max, whole, cut) in [(1, 1, 0), (size, 1, 0), (size + 100, 1, 100), (3 * size - 1, 2, size - 1)]
        {
            let mut request = fetch_request(&topic, 0, 0);
            request.topics[0].partitions[0].partition_max_bytes = max;
            let data = fetched(stage.call(&mut client, &request).await);
            let bytes = data.records.unwrap();
            let mut set = batches(&bytes);
            let found = (set.by_ref().filter(Result::is_ok).count(), set.leftover() as i32);
            assert_eq!(found, (whole, cut), "{profile}: at most {max}");
        }
    }
}

fn span(data: &PartitionData) -> Vec<(i64, i64, bool, usize)> {
    let set = batches(data.records.as_ref().unwrap()).map(Result::unwrap);
    set.map(|batch| (batch.base_offset(), batch.next_offset(), batch.is_control(), batch.records().count()))
        .collect()
}

#[tokio::test]
async fn a_region_with_only_control_and_aborted_records_still_says_at_which_offset_to_go_on() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        // Two aborted records and their marker, then two markers and nothing else.
        stage.cluster.append_in_transaction("t", 0, (1, 0), ["a", "b"]).unwrap();
        for producer in [1, 2, 3] {
            stage.cluster.end_transaction("t", 0, (producer, 0), false).unwrap();
        }
        let mut committed = async |offset| {
            let request = FetchRequest { isolation_level: 1, ..fetch_request(&topic, 0, offset) };
            fetched(stage.call(&mut client, &request).await)
        };
        let data = committed(0).await;
        let aborted: Vec<_> = data.aborted_transactions.iter().flatten().collect();
        assert_eq!(aborted.len(), 1, "{profile}");
        assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (1, 0), "{profile}");
        let markers = [(2, 3, true, 1), (3, 4, true, 1), (4, 5, true, 1)];
        assert_eq!(span(&data), [&[(0, 2, false, 2)], &markers[..]].concat(), "{profile}");
        let data = committed(2).await;
        assert_eq!((span(&data), data.last_stable_offset), (markers.to_vec(), 5), "{profile}");
        assert!(span(&committed(5).await).is_empty(), "{profile}");
    }
}

#[tokio::test]
async fn a_compacted_region_leaves_offsets_without_records_and_batches_that_cover_them() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let keyed = |key: &str, sequence: i32| {
            let mut builder = RecordBatchBuilder::new();
            for _ in 0..2 {
                builder.push(NewRecord::new(WALL_MS, Some(key.as_bytes()), Some(b"value"))).unwrap();
            }
            builder.set_producer(7, 0, sequence);
            builder.build().unwrap().into_bytes()
        };
        for (key, sequence) in [("a", 0), ("a", 2), ("b", 4), ("b", 6)] {
            stage.append(&mut client, &topic, keyed(key, sequence)).await.unwrap();
        }
        stage.cluster.compact("t", 0).unwrap();
        // An empty batch, one with its last record, an empty one, and the last as it is.
        let data = stage.fetch(&mut client, &topic, 0).await;
        let expected = [(0, 2, false, 0), (2, 4, false, 1), (4, 6, false, 0), (6, 8, false, 2)];
        assert_eq!(span(&data), expected, "{profile}");
        assert_eq!(records(&data).iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [3, 6, 7]);
        // What a fetch with little room is given may have no record at all.
        let mut request = fetch_request(&topic, 0, 4);
        request.topics[0].partitions[0].partition_max_bytes = 1;
        let data = fetched(stage.call(&mut client, &request).await);
        assert_eq!(span(&data), [(4, 6, false, 0)], "{profile}");
    }
}
