//! Idempotent producing: sequences, epochs, duplicates, and the fence of a transactional id.

use bytes::Bytes;
use rskafka_protocol::Uuid;
use rskafka_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use rskafka_protocol::messages::find_coordinator::{FindCoordinatorRequest, GROUP, TRANSACTION};
use rskafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode};

use super::super::records::*;
use super::Target;
use crate::support::{TopicName, produce_request};

/// So many records of now, as the producer's.
pub(super) fn batch(id: i64, epoch: i16, sequence: i32, records: usize) -> Bytes {
    let mut batch = built(&vec![(now_ms(), Some("k")); records]);
    batch.set_producer(id, epoch, sequence);
    batch.into_bytes()
}

async fn append(target: &mut Target, case: &str, topic: &TopicName, records: Bytes) {
    let leader = target.leader(topic);
    let version = target.at_most::<ProduceRequest>(13);
    target.ask(case, leader, version, &produce_request(topic, 0, -1, Some(records))).await;
}

pub(super) async fn remembered(target: &mut Target, topic: &TopicName, partition: i32) {
    let leader = target.leader(topic);
    let topic = TopicRequest { name: topic.name.clone(), partition_indexes: vec![partition] };
    let request = DescribeProducersRequest { topics: vec![topic] };
    target.ask("what is remembered", leader, 0, &request).await;
}

pub(super) async fn new_id(target: &mut Target) -> i64 {
    let broker = target.any_broker();
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 1000, ..Default::default() };
    loop {
        let answer = target.client(broker).call(0, &request).await;
        if answer.error_code.is_ok() {
            return answer.producer_id;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

pub(crate) async fn sequences(target: &mut Target) {
    let topic = target.create("sequences", 1, &[]).await;
    let id = new_id(target).await;
    let other = new_id(target).await;
    let at = |case: &str, epoch, sequence, records| (case.to_owned(), id, epoch, sequence, records);
    let mut steps = vec![
        at("first", 0, 0, 2),
        at("the same", 0, 0, 2),
        at("next", 0, 2, 1),
        at("gap", 0, 4, 1),
        at("behind", 0, 1, 1),
        at("overlaps", 0, 2, 2),
        at("shorter than what it repeats", 0, 0, 1),
        at("next", 0, 3, 1),
        at("next", 0, 4, 1),
        at("next", 0, 5, 1),
        at("fifth last", 0, 2, 1),
        at("first again, sixth last", 0, 0, 2),
        at("next", 0, 6, 1),
        at("what was the fifth last", 0, 2, 1),
        at("new epoch not from 0", 1, 7, 1),
        at("new epoch", 1, 0, 1),
        at("old epoch, known", 0, 6, 1),
        at("old epoch, next", 0, 7, 1),
        at("new epoch again", 1, 0, 1),
        at("epoch skipped", 5, 0, 3),
        at("epoch between", 3, 0, 1),
        at("negative sequence", 5, -1, 1),
        at("negative epoch", -1, 3, 1),
        at("next", 5, 3, 1),
    ];
    steps.push(("another producer, any sequence".to_owned(), other, 3, 17, 2));
    steps.push(("its next".to_owned(), other, 3, 19, 1));
    steps.push(("made up, near the end".to_owned(), 1 << 40, 0, i32::MAX - 2, 2));
    steps.push(("made up, over the end".to_owned(), 1 << 40, 0, i32::MAX, 3));
    steps.push(("made up, over the end again".to_owned(), 1 << 40, 0, i32::MAX, 3));
    steps.push(("made up, after the end".to_owned(), 1 << 40, 0, 2, 1));
    steps.push(("made up, ends there".to_owned(), 1 << 41, 0, i32::MAX - 1, 2));
    steps.push(("made up, from 0 again".to_owned(), 1 << 41, 0, 0, 1));
    for (case, id, epoch, sequence, records) in steps {
        let case = format!("{case}: epoch {epoch}, sequence {sequence}, {records} records");
        append(target, &case, &topic, batch(id, epoch, sequence, records)).await;
    }
    remembered(target, &topic, 0).await;
    remembered(target, &topic, 7).await;
    let unknown = TopicName { name: target.name("unknown"), id: Uuid::ZERO };
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest { name: unknown.name, partition_indexes: vec![0] }],
    };
    let broker = target.any_broker();
    target.ask("unknown topic", broker, 0, &request).await;
    if let Some(other) = target.other_broker(&topic) {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest { name: topic.name.clone(), partition_indexes: vec![0] }],
        };
        target.ask("not the leader", other, 0, &request).await;
    }
}

/// A duplicate in every version, with each kind of timestamp; and what stands before the sequence.
pub(crate) async fn duplicates(target: &mut Target) {
    for (name, config) in [("created", "CreateTime"), ("stamped-twice", "LogAppendTime")] {
        let topic = target.create(name, 1, &[("message.timestamp.type", config)]).await;
        let leader = target.leader(&topic);
        let id = new_id(target).await;
        for (n, version) in
            target.versions::<ProduceRequest>().enumerate().filter(|(_, version)| *version >= 3)
        {
            let records = batch(id, 0, n as i32 * 2, 2);
            for case in ["first", "again"] {
                let request = produce_request(&topic, 0, -1, Some(records.clone()));
                target.ask(case, leader, version, &request).await;
            }
            let request = produce_request(&topic, 0, -1, Some(batch(id, 0, 1_000_000, 1)));
            target.ask("gap", leader, version, &request).await;
            let request = produce_request(&topic, 0, 1, Some(batch(id, -1, 1_000_000, 1)));
            target.ask("old epoch, acks 1", leader, version, &request).await;
        }
        let request = produce_request(&topic, 0, 0, Some(batch(id, 0, 1_000_000, 1)));
        target.send_silent("gap, acks 0", leader, 9, &request).await;
    }
    let small = target.create("small-sequences", 1, &[("max.message.bytes", "200")]).await;
    let id = new_id(target).await;
    for (case, sequence, records) in [
        ("first", 0, 1),
        ("too large", 1, 9),
        ("too large and a gap", 5, 9),
        ("the sequence is where it was", 1, 1),
    ] {
        append(target, case, &small, batch(id, 0, sequence, records)).await;
    }
    let topic = target.create("transactional", 1, &[]).await;
    let id = new_id(target).await;
    let mut transactional = built(&[(now_ms(), Some("k"))]);
    transactional.set_producer(id, 0, 0);
    transactional.update_header(|header| {
        header.attributes = header.attributes.with(rskafka_protocol::records::Flag::Transactional, true)
    });
    append(target, "of a transaction that nobody began", &topic, transactional.into_bytes()).await;
}

/// Asks the coordinator of a transactional id or a group, once there is one.
async fn coordinator(target: &mut Target, key_type: i8, id: &str) -> i32 {
    let request = FindCoordinatorRequest { key: id.to_owned(), key_type, ..Default::default() };
    let broker = target.any_broker();
    loop {
        let answer = target.client(broker).call(2, &request).await;
        if answer.error_code.is_ok() {
            return answer.node_id;
        }
        assert_eq!(answer.error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn init(
    target: &mut Target,
    case: &str,
    version: i16,
    transactional_id: &str,
    own: (i64, i16),
) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(transactional_id.to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: own.0,
        producer_epoch: own.1,
    };
    let broker = coordinator(target, TRANSACTION, transactional_id).await;
    loop {
        let answer = target.client(broker).call(version, &request).await;
        if answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            && answer.error_code != ErrorCode::CONCURRENT_TRANSACTIONS
        {
            target.keep_answer(&format!("{} v{version} {case}", ApiKey::INIT_PRODUCER_ID), version, &answer);
            return (answer.producer_id, answer.producer_epoch);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The fence that a claim of a transactional id is, step by step.
pub(crate) async fn fence(target: &mut Target) {
    let topic = target.create("fenced", 1, &[]).await;
    let id = target.name("owner");
    let newest = target.at_most::<InitProducerIdRequest>(5);
    let (producer, first) = init(target, "first owner", newest, &id, (-1, -1)).await;
    append(target, "first owner", &topic, batch(producer, first, 0, 1)).await;
    let (_, second) = init(target, "second owner", newest, &id, (-1, -1)).await;
    append(target, "old owner before the new one", &topic, batch(producer, first, 1, 1)).await;
    let fencing = batch(producer, second, 0, 1);
    append(target, "new owner", &topic, fencing.clone()).await;
    append(target, "old owner after the new one", &topic, batch(producer, first, 2, 1)).await;
    append(target, "new owner again", &topic, fencing).await;
    init(target, "old owner", newest, &id, (producer, first)).await;
    if newest >= 4 {
        init(target, "old owner", 3, &id, (producer, first)).await;
    }
    let (_, third) = init(target, "renewed", newest, &id, (producer, second)).await;
    init(target, "renewed, the answer lost", newest, &id, (producer, second)).await;
    append(target, "epoch before the renewal", &topic, batch(producer, second, 1, 1)).await;
    append(target, "epoch of the renewal", &topic, batch(producer, third, 0, 1)).await;
    append(target, "epoch before, after that", &topic, batch(producer, second, 2, 1)).await;
    init(target, "with another producer id", newest, &id, (producer + 1, third)).await;
    init(target, "with an epoch that is not yet", newest, &id, (producer, third + 1)).await;
    remembered(target, &topic, 0).await;

    for version in target.versions::<InitProducerIdRequest>() {
        let id = target.name(&format!("owner-{version}"));
        init(target, "first", version, &id, (-1, -1)).await;
        init(target, "second", version, &id, (-1, -1)).await;
    }
}

/// What is wrong with a request for a producer id.
pub(crate) async fn init_errors(target: &mut Target) {
    let broker = target.any_broker();
    new_id(target).await;
    let id = target.name("errors");
    let coordinator = coordinator(target, TRANSACTION, &id).await;
    let other = target.brokers().into_iter().find(|broker| *broker != coordinator);
    // Until its coordinator has loaded what it knows.
    init(target, "before the errors", 1, &id, (-1, -1)).await;
    let base = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let with_id = InitProducerIdRequest { transactional_id: Some(id), ..base.clone() };
    for version in target.versions::<InitProducerIdRequest>() {
        target.ask("no transactional id", broker, version, &base).await;
        for timeout in [0, -1] {
            let request = InitProducerIdRequest { transaction_timeout_ms: timeout, ..base.clone() };
            target.ask(&format!("no transactional id, timeout {timeout}"), broker, version, &request).await;
            let request = InitProducerIdRequest { transaction_timeout_ms: timeout, ..with_id.clone() };
            target.ask(&format!("timeout {timeout}"), coordinator, version, &request).await;
        }
        let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..with_id.clone() };
        target.ask("timeout too long", coordinator, version, &request).await;
        let request = InitProducerIdRequest { transactional_id: Some(String::new()), ..base.clone() };
        target.ask("empty transactional id", broker, version, &request).await;
        if let Some(other) = other {
            target.ask("not the coordinator", other, version, &with_id).await;
        }
        if version >= 3 {
            for (producer_id, producer_epoch) in [(4711, -1), (-1, 3), (4711, 3), (-2, -2)] {
                let request = InitProducerIdRequest { producer_id, producer_epoch, ..base.clone() };
                let case = format!("no transactional id, own {producer_id}, {producer_epoch}");
                target.ask(&case, broker, version, &request).await;
                if (producer_id, producer_epoch) != (4711, 3) {
                    let request = InitProducerIdRequest { producer_id, producer_epoch, ..with_id.clone() };
                    target
                        .ask(&format!("own {producer_id}, {producer_epoch}"), coordinator, version, &request)
                        .await;
                }
            }
        }
    }
}

pub(crate) async fn coordinators(target: &mut Target) {
    let broker = target.any_broker();
    coordinator(target, TRANSACTION, "some").await;
    coordinator(target, GROUP, "some").await;
    for version in target.versions::<FindCoordinatorRequest>() {
        for key_type in [TRANSACTION, GROUP, 3, -1] {
            for key in ["some", ""] {
                let request = FindCoordinatorRequest {
                    key: if version < 4 { key.to_owned() } else { String::new() },
                    key_type,
                    coordinator_keys: if version < 4 { vec![] } else { vec![key.to_owned(), "b".to_owned()] },
                };
                target.ask(&format!("type {key_type}, key {key:?}"), broker, version, &request).await;
            }
        }
        if version >= 4 {
            let request = FindCoordinatorRequest { key_type: TRANSACTION, ..Default::default() };
            target.ask("no keys", broker, version, &request).await;
        }
    }
}
