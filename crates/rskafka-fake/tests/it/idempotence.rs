//! Producer ids: what a broker remembers, for how long, and the fence.

use std::time::Duration;

use bytes::Bytes;
use rskafka_fake::{FakeCluster, FakeClusterBuilder, Profile};
use rskafka_protocol::messages::find_coordinator::{FindCoordinatorRequest, TRANSACTION};
use rskafka_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};
use rskafka_protocol::{ErrorCode, Uuid};

use crate::support::*;

fn sequenced(id: i64, epoch: i16, sequence: i32, timestamp: i64) -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord::new(timestamp, None, Some(b"value"))).unwrap();
    builder.set_producer(id, epoch, sequence);
    builder.build().unwrap().into_bytes()
}

/// A cluster with a topic, and a client of its leader.
struct Fixture {
    cluster: FakeCluster,
    topic: TopicName,
    client: RawClient,
}

impl Fixture {
    async fn new(builder: FakeClusterBuilder, replicas: i16) -> Self {
        let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(WALL_MS as u64);
        let cluster = builder.in_memory().wall_clock(wall).start().await.unwrap();
        cluster.create_topic("t", 1, replicas).unwrap();
        cluster.move_leader("t", 0, 1).unwrap();
        let client = RawClient::pipe(&cluster, 1).await;
        // By name, which every profile knows.
        let topic = TopicName { name: "t".to_owned(), id: Uuid::ZERO };
        Self { cluster, topic, client }
    }

    /// Appends one record of now: offset or code.
    async fn append(&mut self, epoch: i16, sequence: i32) -> Result<i64, ErrorCode> {
        self.append_at(epoch, sequence, WALL_MS).await
    }

    async fn append_at(&mut self, epoch: i16, sequence: i32, timestamp: i64) -> Result<i64, ErrorCode> {
        let request = produce_request(&self.topic, 0, -1, Some(sequenced(7, epoch, sequence, timestamp)));
        let answer = produced(self.client.call(7, &request).await);
        answer.error_code.ok().map(|()| answer.base_offset)
    }

    async fn restart(&mut self, cleanly: bool) {
        match cleanly {
            true => self.cluster.shut_down_broker(1).await.unwrap(),
            false => self.cluster.stop_broker(1).await.unwrap(),
        }
        self.cluster.start_broker(1).await.unwrap();
        self.client = RawClient::pipe(&self.cluster, 1).await;
    }
}

const OUT_OF_ORDER: Result<i64, ErrorCode> = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
const OLD_EPOCH: Result<i64, ErrorCode> = Err(ErrorCode::INVALID_PRODUCER_EPOCH);

/// The answer to a batch of an older epoch. Redpanda looks only at its sequence number.
fn old_epoch(by_sequence: Result<i64, ErrorCode>) -> Result<i64, ErrorCode> {
    if profile() == Profile::Redpanda { by_sequence } else { OLD_EPOCH }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_has_the_offset_that_it_got_in_every_profile() {
    for profile in Profile::ALL {
        let mut fixture = Fixture::new(FakeCluster::builder().profile(profile), 1).await;
        for _ in 0..3 {
            assert_eq!(fixture.append(0, 0).await, Ok(0), "{profile}");
        }
        assert_eq!(fixture.append(0, 2).await, OUT_OF_ORDER, "{profile}");
        for sequence in 1..=6 {
            assert_eq!(fixture.append(0, sequence).await, Ok(i64::from(sequence)), "{profile}");
        }
        assert_eq!(fixture.append(0, 2).await, Ok(2), "{profile}");
        assert_eq!(fixture.append(0, 1).await, OUT_OF_ORDER, "{profile}: the sixth last");
        assert_eq!(fixture.cluster.log("t", 0).unwrap().high_watermark, 7);
    }
}

#[tokio::test]
async fn a_first_batch_of_a_new_epoch_fences_the_old_one_but_not_on_redpanda() {
    for profile in Profile::ALL {
        let mut fixture = Fixture::new(FakeCluster::builder().profile(profile), 1).await;
        fixture.append(0, 0).await.unwrap();
        assert_eq!(fixture.append(1, 5).await, OUT_OF_ORDER);
        assert_eq!(fixture.append(0, 1).await, Ok(1), "not fenced before it is written");
        assert_eq!(fixture.append(1, 0).await, Ok(2));
        let old = fixture.append(0, 2).await;
        match profile {
            Profile::Redpanda => assert_eq!(old, OUT_OF_ORDER, "judged by its sequence alone"),
            _ => assert_eq!(old, OLD_EPOCH, "{profile}"),
        }
    }
}

#[tokio::test]
async fn a_new_leader_knows_the_batches_that_the_old_one_had() {
    let mut fixture = Fixture::new(fake().brokers(3), 3).await;
    for sequence in 0..4 {
        fixture.append(0, sequence).await.unwrap();
    }
    fixture.cluster.stop_broker(1).await.unwrap();
    let leader = fixture.cluster.leader("t", 0).unwrap().unwrap();
    fixture.client = RawClient::pipe(&fixture.cluster, leader).await;
    for sequence in 0..4 {
        assert_eq!(fixture.append(0, sequence).await, Ok(i64::from(sequence)));
    }
    assert_eq!(fixture.append(0, 4).await, Ok(4));
}

#[tokio::test]
async fn after_a_shutdown_and_after_a_kill_only_the_last_batch_is_remembered() {
    for cleanly in [false, true] {
        let mut fixture = Fixture::new(fake(), 1).await;
        for sequence in 0..6 {
            fixture.append(0, sequence).await.unwrap();
        }
        fixture.restart(cleanly).await;
        assert_eq!(fixture.append(0, 5).await, Ok(5));
        assert_eq!(fixture.append(0, 4).await, OUT_OF_ORDER, "it was written, and is forgotten");
        assert_eq!(fixture.append(0, 6).await, Ok(6));
        assert_eq!(fixture.append(0, 5).await, Ok(5), "more are remembered again");
    }
}

#[tokio::test]
async fn what_was_deleted_is_remembered_until_a_restart() {
    let mut fixture = Fixture::new(fake(), 1).await;
    fixture.append(0, 0).await.unwrap();
    fixture.append(1, 0).await.unwrap();
    fixture.cluster.delete_records("t", 0, 2).unwrap();
    if profile() == Profile::Redpanda {
        assert_eq!(fixture.append(0, 1).await, Ok(2), "there is no fence to remember");
        return;
    }
    assert_eq!(fixture.append(0, 1).await, OLD_EPOCH);
    fixture.restart(true).await;
    assert_eq!(fixture.append(0, 1).await, Ok(2), "the fence is gone with the log");

    let mut fixture = Fixture::new(fake(), 1).await;
    fixture.append(0, 0).await.unwrap();
    fixture.append(1, 0).await.unwrap();
    fixture.cluster.delete_records("t", 0, 1).unwrap();
    fixture.restart(true).await;
    assert_eq!(fixture.append(0, 1).await, OLD_EPOCH, "the owner's last batch was kept");
}

#[tokio::test(start_paused = true)]
async fn a_producer_expires_by_the_time_of_its_last_batch_at_the_next_check() {
    let config = match profile() {
        Profile::Kafka2_8 => "transactional.id.expiration.ms",
        _ => "producer.id.expiration.ms",
    };
    let builder = fake().config(config, "3600000");
    let mut fixture = Fixture::new(builder, 1).await;
    fixture.append(1, 0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    // The broker has closed the connection, which was idle.
    fixture.client = RawClient::pipe(&fixture.cluster, 1).await;
    assert_eq!(fixture.append(0, 0).await, old_epoch(Ok(0)));
    tokio::time::sleep(Duration::from_secs(600)).await;
    fixture.client = RawClient::pipe(&fixture.cluster, 1).await;
    assert_eq!(fixture.append(0, 17).await, Ok(1), "an old epoch, and any sequence");

    // A batch with an older timestamp (CreateTime): the next check forgets its producer.
    fixture.append_at(2, 0, WALL_MS - 3_600_000).await.unwrap();
    assert_eq!(fixture.append(1, 0).await, old_epoch(Ok(2)));
    tokio::time::sleep(Duration::from_secs(601)).await;
    fixture.client = RawClient::pipe(&fixture.cluster, 1).await;
    assert_eq!(fixture.append(1, 5).await, Ok(3));
}

#[tokio::test]
async fn producers_are_forgotten_on_command() {
    let mut fixture = Fixture::new(fake(), 1).await;
    fixture.append(1, 0).await.unwrap();
    fixture.cluster.forget_producers("t", 0).unwrap();
    assert_eq!(fixture.append(0, 9).await, Ok(1));
}

#[tokio::test]
async fn a_batch_over_the_end_of_the_sequence_numbers_is_taken_but_not_by_redpanda() {
    for profile in Profile::ALL {
        let mut fixture = Fixture::new(FakeCluster::builder().profile(profile), 1).await;
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..3 {
            builder.push(NewRecord::new(WALL_MS, None, None)).unwrap();
        }
        builder.set_producer(7, 0, i32::MAX);
        let records = builder.build().unwrap().into_bytes();
        let request = produce_request(&fixture.topic, 0, -1, Some(records));
        let answer = produced(fixture.client.call(7, &request).await);
        let expected = match profile {
            Profile::Redpanda => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            _ => ErrorCode::NONE,
        };
        assert_eq!(answer.error_code, expected, "{profile}");
        if answer.error_code.is_ok() {
            assert_eq!(fixture.append(0, 2).await, Ok(3));
        }
    }
}

async fn init(
    cluster: &FakeCluster,
    version: i16,
    id: Option<&str>,
    own: (i64, i16),
) -> InitProducerIdResponse {
    let request = InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        transaction_timeout_ms: 60_000,
        producer_id: own.0,
        producer_epoch: own.1,
    };
    let mut client = RawClient::pipe(cluster, 1).await;
    let broker = match id {
        None => 1,
        Some(id) => {
            let request =
                FindCoordinatorRequest { key: id.to_owned(), key_type: TRANSACTION, ..Default::default() };
            client.call(1, &request).await.node_id
        }
    };
    RawClient::pipe(cluster, broker).await.call(version, &request).await
}

const NONE: (i64, i16) = (-1, -1);

#[tokio::test]
async fn without_a_transactional_id_every_asker_gets_a_new_producer_id_at_epoch_0() {
    let cluster = cluster(1).await;
    for expected in 0..3 {
        let own = if speaks::<InitProducerIdRequest>(3).await { (0, 0) } else { NONE };
        let answer = init(&cluster, 5, None, own).await;
        assert_eq!((answer.producer_id, answer.producer_epoch), (expected, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_transactional_id_the_last_asker_owns_it_until_the_coordinator_forgets() {
    needs!(InitProducerIdRequest, 3, "an owner cannot say that it is one");
    let fenced = match speaks::<InitProducerIdRequest>(4).await {
        true => ErrorCode::PRODUCER_FENCED,
        false => ErrorCode::INVALID_PRODUCER_EPOCH,
    };
    let cluster = cluster(3).await;
    let id = Some("owner");
    let got = |answer: InitProducerIdResponse| (answer.error_code, answer.producer_id, answer.producer_epoch);
    let (_, producer, epoch) = got(init(&cluster, 5, id, NONE).await);
    assert_eq!(epoch, 0);
    assert_eq!(got(init(&cluster, 5, id, NONE).await), (ErrorCode::NONE, producer, 1));
    assert_eq!(got(init(&cluster, 5, id, (producer, 0)).await), (fenced, -1, -1));
    assert_eq!(got(init(&cluster, 3, id, (producer, 0)).await), (ErrorCode::INVALID_PRODUCER_EPOCH, -1, -1));
    assert_eq!(got(init(&cluster, 5, id, (producer, 1)).await), (ErrorCode::NONE, producer, 2));
    assert_eq!(got(init(&cluster, 5, id, (producer, 1)).await), (ErrorCode::NONE, producer, 2));

    // Its coordinator dies. Another takes over, and still knows the id.
    let request =
        FindCoordinatorRequest { key: "owner".to_owned(), key_type: TRANSACTION, ..Default::default() };
    let first = RawClient::pipe(&cluster, 1).await.call(1, &request).await.node_id;
    let other = first % 3 + 1;
    let mut client = RawClient::pipe(&cluster, other).await;
    let asked = InitProducerIdRequest {
        transactional_id: Some("owner".to_owned()),
        transaction_timeout_ms: 1,
        ..Default::default()
    };
    assert_eq!(client.call(5, &asked).await.error_code, ErrorCode::NOT_COORDINATOR);
    if first != 1 {
        cluster.stop_broker(first).await.unwrap();
    }
    assert_eq!(got(init(&cluster, 5, id, (producer, 2)).await), (ErrorCode::NONE, producer, 3));

    // If nobody asks for 7 days, even a stale owner gets a new id.
    tokio::time::sleep(Duration::from_secs(7 * 24 * 3600 + 3601)).await;
    let (code, new, epoch) = got(init(&cluster, 5, id, (producer, 0)).await);
    assert_eq!((code, epoch), (ErrorCode::NONE, 0));
    assert_ne!(new, producer);
}

#[tokio::test]
async fn when_the_epochs_are_used_up_the_owner_gets_another_producer_id() {
    needs!(InitProducerIdRequest, 3, "an owner cannot say that it is one");
    let cluster = cluster(1).await;
    let producer = init(&cluster, 5, Some("owner"), NONE).await.producer_id;
    assert!(cluster.set_producer_epoch("owner", i16::MAX - 1));
    let answer = init(&cluster, 5, Some("owner"), (producer, i16::MAX - 1)).await;
    assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
    assert_ne!(answer.producer_id, producer);
    assert!(cluster.forget_transactional_id("owner"));
    assert!(!cluster.set_producer_epoch("owner", 1));
}

#[tokio::test]
async fn a_claim_fences_the_old_owner_with_its_first_batch_and_repeats_are_answered_alike() {
    for profile in [Profile::Kafka2_8, Profile::Kafka3_9, Profile::Kafka4_4] {
        let mut fixture = Fixture::new(FakeCluster::builder().profile(profile), 1).await;
        let first = init(&fixture.cluster, 4, Some("owner"), NONE).await;
        let second = init(&fixture.cluster, 4, Some("owner"), NONE).await;
        assert_eq!((first.producer_epoch, second.producer_epoch), (0, 1));
        assert_eq!(fixture.append(0, 0).await, Ok(0), "{profile}: still accepted");
        assert_eq!(fixture.append(1, 0).await, Ok(1));
        assert_eq!(fixture.append(0, 1).await, OLD_EPOCH);
        assert_eq!(fixture.append(1, 0).await, Ok(1));
    }
}
