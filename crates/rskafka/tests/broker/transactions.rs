//! Logs that others write transactions to.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use rskafka::client::consumer::{IsolationLevel, StartAt};
use rskafka::client::{Client, OffsetAt};
use rskafka::protocol::messages::find_coordinator::{FindCoordinatorRequest, TRANSACTION};
use rskafka::protocol::messages::init_producer_id::InitProducerIdRequest;
use rskafka::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka::protocol::records::{Flag, NewRecord, RecordBatchBuilder};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_transport::{Connection, Endpoint};

use crate::common::{self, Brokers, PATIENCE, new_topic, now, served};
use crate::raw::{call, call_unlisted, call_up_to, connect, leader_of, string};

const ADD_PARTITIONS_TO_TXN: ApiKey = ApiKey(24);
const END_TXN: ApiKey = ApiKey(26);
/// From version 12 on, a produce adds its partition to the transaction by itself (KIP-890).
const LAST_PRODUCE_OF_ADDED_PARTITIONS: i16 = 11;
/// The last version that asks for one coordinator.
const FIND_ONE_COORDINATOR: i16 = 3;

#[test]
fn recovery_ends_where_the_log_ends_in_markers() {
    const NAME: &str = "transactions::recovery_ends_where_the_log_ends_in_markers";
    crate::run(NAME, async |brokers: Brokers| {
        let bootstrap = connect(brokers[0].parse().unwrap()).await;
        if bootstrap.versions().range(ADD_PARTITIONS_TO_TXN).is_none() {
            return common::skipped("the fake", NAME, "it has no requests that write transactions");
        }
        let client = Client::new_plain(brokers.clone()).await.unwrap();
        let topic = new_topic("markers");
        client.create_topic(&topic, 1, 1).await.unwrap();
        let log = served(&client, &topic, 0).await;
        let mut producer = Producer::start(&brokers, &topic).await;
        producer.transaction("committed", true).await;
        producer.transaction("aborted", false).await;
        let markers_written = async {
            while log.get_offset(OffsetAt::Latest).await.unwrap().offset < 4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, markers_written).await.expect("no marker is written");
        common::recovers_up_to_the_markers_at_the_end(&log).await;
        let values = async |isolation| {
            let stream = log.stream(StartAt::Earliest).until(4).isolation(isolation).build();
            common::values(&stream.try_collect::<Vec<_>>().await.unwrap())
        };
        assert_eq!(values(IsolationLevel::ReadUncommitted).await, ["committed", "aborted"]);
        assert_eq!(values(IsolationLevel::ReadCommitted).await, ["committed"]);
        client.delete_topic(&topic).await.unwrap();
    });
}

/// Writes transactions to a topic's only partition.
struct Producer {
    coordinator: Endpoint,
    leader: Connection,
    topic: String,
    transactional_id: String,
    id: i64,
    epoch: i16,
    next_sequence: i32,
}

impl Producer {
    async fn start(brokers: &Brokers, topic: &str) -> Self {
        let transactional_id = new_topic("transactions");
        let bootstrap = connect(brokers[0].parse().unwrap()).await;
        let request = FindCoordinatorRequest {
            key: transactional_id.clone(),
            key_type: TRANSACTION,
            ..Default::default()
        };
        // The first one of a cluster has its topic created.
        let found = until_ok(async || {
            let found = call_up_to(&bootstrap, FIND_ONE_COORDINATOR, &request).await;
            (found.error_code, found)
        });
        let found = found.await;
        let coordinator = Endpoint::new(found.host, u16::try_from(found.port).unwrap());
        let connection = connect(coordinator.clone()).await;
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let producer = until_ok(async || {
            let producer = call(&connection, &request).await;
            (producer.error_code, producer)
        });
        let producer = producer.await;
        Self {
            coordinator,
            leader: connect(leader_of(brokers, topic).await.0).await,
            topic: topic.to_owned(),
            transactional_id,
            id: producer.producer_id,
            epoch: producer.producer_epoch,
            next_sequence: 0,
        }
    }

    async fn transaction(&mut self, value: &str, committed: bool) {
        let (one, partition) = (1i32.to_be_bytes(), 0i32.to_be_bytes());
        let topics = [&one[..], &string(&self.topic), &one, &partition].concat();
        let request = [&*self.owner(), &topics].concat();
        // The answer ends with the code of the only partition. The transaction before this one may be about to end.
        until_ok(async || code(&call_unlisted(&self.coordinator, ADD_PARTITIONS_TO_TXN, 0, &request).await))
            .await;
        self.append(value).await;
        let request = [&*self.owner(), &[u8::from(committed)]].concat();
        until_ok(async || code(&call_unlisted(&self.coordinator, END_TXN, 0, &request).await)).await;
    }

    async fn append(&mut self, value: &str) {
        let timestamp = i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap();
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(timestamp, None, Some(value.as_bytes()))).unwrap();
        let mut batch = builder.build().unwrap();
        batch.set_producer(self.id, self.epoch, self.next_sequence);
        batch.update_header(|header| header.attributes = header.attributes.with(Flag::Transactional, true));
        let data = PartitionProduceData { index: 0, records: Some(batch.into_bytes()) };
        let request = ProduceRequest {
            transactional_id: Some(self.transactional_id.clone()),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                partition_data: vec![data],
                ..Default::default()
            }],
        };
        let produced = call_up_to(&self.leader, LAST_PRODUCE_OF_ADDED_PARTITIONS, &request).await;
        let produced = &produced.responses[0].partition_responses[0];
        assert_eq!(produced.error_code, ErrorCode::NONE, "{produced:?}");
        self.next_sequence += 1;
    }

    /// What the bodies of the coordinator's requests begin with.
    fn owner(&self) -> Vec<u8> {
        [&*string(&self.transactional_id), &self.id.to_be_bytes(), &self.epoch.to_be_bytes()].concat()
    }
}

/// The error code at the end of an answer.
fn code(answer: &[u8]) -> (ErrorCode, ()) {
    (ErrorCode(i16::from_be_bytes(*answer.last_chunk().unwrap())), ())
}

/// Asks again while the answer is a code that may pass.
async fn until_ok<T>(ask: impl AsyncFn() -> (ErrorCode, T)) -> T {
    let asking = async {
        loop {
            match ask().await {
                (ErrorCode::NONE, answer) => return answer,
                (code, _) => assert!(code.is_retriable(), "{code}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it goes on refusing")
}
