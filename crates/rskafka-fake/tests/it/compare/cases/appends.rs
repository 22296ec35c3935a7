//! Produce: what is taken, and what is refused with which code.

use bytes::{Bytes, BytesMut};
use rskafka_protocol::Uuid;
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::records::{Attributes, Compression, Flag};

use super::super::records::*;
use super::Target;
use crate::support::{TopicName, produce_request};

pub(crate) async fn accepted(target: &mut Target) {
    let topic = target.create("accepted", 1, &[]).await;
    let leader = target.leader(&topic);
    for version in target.versions::<ProduceRequest>() {
        for acks in [-1, 1] {
            target.ask("good", leader, version, &produce_request(&topic, 0, acks, Some(good()))).await;
        }
    }
}

pub(crate) async fn refused(target: &mut Target) {
    let topic = target.create("refused", 1, &[]).await;
    let leader = target.leader(&topic);
    let unknown = TopicName { name: target.name("unknown"), id: Uuid([7; 16]) };
    for version in target.versions::<ProduceRequest>() {
        target.ask("unknown topic", leader, version, &produce_request(&unknown, 0, -1, Some(good()))).await;
        target.ask("unknown partition", leader, version, &produce_request(&topic, 5, -1, Some(good()))).await;
        target
            .ask("negative partition", leader, version, &produce_request(&topic, -1, -1, Some(good())))
            .await;
        for acks in [2, -2] {
            let request = produce_request(&topic, 0, acks, Some(good()));
            target.ask(&format!("acks {acks}"), leader, version, &request).await;
        }
        if let Some(other) = target.other_broker(&topic) {
            let request = produce_request(&topic, 0, -1, Some(good()));
            target.ask("not the leader", other, version, &request).await;
            let request = produce_request(&topic, 0, -1, Some(with_byte(70, 0x55)));
            target.ask("not the leader, bad CRC", other, version, &request).await;
            let request = produce_request(&topic, 0, -1, Some(Bytes::new()));
            target.ask("not the leader, no batch", other, version, &request).await;
        }
        for compression in Compression::ALL {
            let says = with_header(|header| {
                header.attributes = header.attributes.with_compression(compression);
            });
            let miscounted = |by: i32| {
                let mut batch = compressed(compression);
                batch.update_header(|header| {
                    header.record_count += by;
                    header.last_offset_delta += by;
                });
                batch.into_bytes()
            };
            for (case, records) in [
                ("said to be", says),
                ("good", compressed(compression).into_bytes()),
                ("one record too few", miscounted(-1)),
                ("one record too many", miscounted(1)),
            ] {
                let request = produce_request(&topic, 0, -1, Some(records));
                target.ask(&format!("{compression}, {case}"), leader, version, &request).await;
            }
        }
        for (case, records) in wrong_batches() {
            target.ask(case, leader, version, &produce_request(&topic, 0, -1, records)).await;
        }
    }
}

/// Each batch with one thing that is wrong, or nearly.
fn wrong_batches() -> Vec<(&'static str, Option<Bytes>)> {
    let joined = |first: &[u8], second: &[u8]| {
        let mut bytes = BytesMut::from(first);
        bytes.extend_from_slice(second);
        Some(bytes.freeze())
    };
    let far = now_ms() + 2 * 3_600_000;
    vec![
        ("no bytes", Some(Bytes::new())),
        ("part of a header", Some(good().slice(..30))),
        ("cut batch", Some(good().slice(..good().len() - 1))),
        ("two batches", joined(&good(), &good())),
        ("a batch and a cut one", joined(&good(), &good()[..40])),
        ("a batch and a byte", joined(&good(), &[0])),
        ("bad CRC", Some(with_byte(70, 0x55))),
        ("negative length", Some(with_byte(8, 0xff))),
        ("magic 1", Some(with_byte(16, 1))),
        ("magic 3", Some(with_byte(16, 3))),
        ("base offset 5", Some(with_header(|header| header.base_offset = 5))),
        ("base offset 5 and bad CRC", {
            let mut bytes = BytesMut::from(&with_byte(70, 0x55)[..]);
            bytes[7] = 5;
            Some(bytes.freeze())
        }),
        ("leader epoch 9", Some(with_header(|header| header.partition_leader_epoch = 9))),
        ("last offset delta too large", Some(with_header(|header| header.last_offset_delta = 5))),
        ("last offset delta negative", Some(with_header(|header| header.last_offset_delta = -1))),
        ("record count too large", Some(with_header(|header| header.record_count = 3))),
        (
            "record count and delta too large",
            Some(with_header(|header| {
                header.record_count = 3;
                header.last_offset_delta = 2;
            })),
        ),
        (
            "record count and delta too small",
            Some(with_header(|header| {
                header.record_count = 1;
                header.last_offset_delta = 0;
            })),
        ),
        ("record count 0", Some(with_header(|header| header.record_count = 0))),
        ("record count negative", Some(with_header(|header| header.record_count = -1))),
        ("gap", Some(with_gap())),
        ("hidden gap", Some(with_hidden_gap())),
        ("broken record", Some(with_broken_record())),
        (
            "control",
            Some(with_header(|header| header.attributes = header.attributes.with(Flag::Control, true))),
        ),
        (
            "says log append time",
            Some(with_header(|header| {
                header.attributes = header.attributes.with(Flag::LogAppendTime, true);
            })),
        ),
        ("max timestamp wrong", Some(with_header(|header| header.max_timestamp += 1000))),
        ("codec 7", Some(with_header(|header| header.attributes = Attributes(7)))),
        ("far future", Some(built(&[(now_ms(), None), (far, None)]).into_bytes())),
        ("no time", Some(built(&[(-1, None), (-1, None)]).into_bytes())),
        ("time 0", Some(built(&[(0, None)]).into_bytes())),
    ]
}

pub(crate) async fn by_config(target: &mut Target) {
    let lying = target.create("lying", 1, &[]).await;
    let late = with_header(|header| header.max_timestamp += 1000);
    let early = built(&[(now_ms(), None), (now_ms() + 9, None)]);
    let early = {
        let mut batch = early;
        batch.update_header(|header| header.max_timestamp = header.base_timestamp);
        batch.into_bytes()
    };
    let mut packed = compressed(Compression::Gzip);
    packed.update_header(|header| header.max_timestamp += 1000);
    for records in [late, early, packed.into_bytes()] {
        let leader = target.leader(&lying);
        target.ask("wrong times", leader, 9, &produce_request(&lying, 0, -1, Some(records))).await;
    }
    let leader = target.leader(&lying);
    target.ask("wrong times", leader, 12, &crate::support::fetch_request(&lying, 0, 0)).await;

    let compacted = target.create("compacted", 1, &[("cleanup.policy", "compact")]).await;
    let stamped = target.create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let small = target.create("small", 1, &[("max.message.bytes", "200")]).await;
    let strict = target.create("strict", 1, &[("min.insync.replicas", "2")]).await;
    let bound = match target.at_most::<ProduceRequest>(13) {
        ..10 => "message.timestamp.difference.max.ms",
        _ => "message.timestamp.before.max.ms",
    };
    let past = target.create("past", 1, &[(bound, "1000")]).await;
    let far = now_ms() + 2 * 3_600_000;
    let keyless = built(&[(now_ms(), Some("a")), (now_ms(), None)]).into_bytes();
    let large = built(&[(now_ms(), Some("a")); 9]).into_bytes();
    let future = built(&[(far, None)]).into_bytes();
    let old = built(&[(now_ms() - 60_000, None), (now_ms(), None)]).into_bytes();
    let mut large_and_bad = BytesMut::from(&large[..]);
    large_and_bad[70] ^= 1;
    for (case, topic, acks, records) in [
        ("compacted, with keys", &compacted, -1, good()),
        ("compacted, a key missing", &compacted, -1, keyless),
        ("log append time", &stamped, -1, good()),
        ("log append time, far future", &stamped, -1, future),
        ("too large", &small, -1, large),
        ("too large and bad CRC", &small, -1, large_and_bad.freeze()),
        ("small enough", &small, -1, good()),
        ("not enough replicas", &strict, -1, good()),
        ("not enough replicas, acks 1", &strict, 1, good()),
        ("too old", &past, -1, old),
    ] {
        let leader = target.leader(topic);
        for version in [3, 7, 8, 12, 13] {
            target.ask(case, leader, version, &produce_request(topic, 0, acks, Some(records.clone()))).await;
        }
    }
    for version in [4, 12, 18] {
        let leader = target.leader(&stamped);
        let request = crate::support::fetch_request(&stamped, 0, 0);
        target.ask("log append time", leader, version, &request).await;
    }
}

pub(crate) async fn without_answer(target: &mut Target) {
    let topic = target.create("silent", 1, &[]).await;
    let leader = target.leader(&topic);
    let request = produce_request(&topic, 0, 0, Some(good()));
    target.send_silent("acks 0", leader, 9, &request).await;
    let request = produce_request(&topic, 0, 0, Some(with_byte(70, 0x55)));
    target.send_silent("acks 0, bad CRC", leader, 9, &request).await;
    let request = produce_request(&topic, 9, 0, Some(good()));
    target.send_silent("acks 0, unknown partition", leader, 9, &request).await;
    let mut request = produce_request(&topic, 0, -1, Some(good()));
    let again = request.topic_data[0].clone();
    request.topic_data.push(again);
    target.ask("a partition twice", leader, 9, &request).await;
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, ..Default::default() };
    target.ask("nothing", leader, 9, &request).await;
}
