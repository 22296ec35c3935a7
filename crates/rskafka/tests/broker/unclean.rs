//! Acknowledged records that are lost: a follower that stood still while they were appended is elected.
//!
//! This runs alone: others would wait for the brokers that stand still.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use rskafka::client::consumer::{OutOfRange, Position, StartAt};
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::messages::list_offsets::{
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rskafka::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponsePartition,
};
use rskafka_transport::{Connection, Endpoint};
use rskafka_verifier::proxy::BrokerProcess;
use tokio::time::{sleep, timeout};

use crate::common::{self, PATIENCE, new_topic, read_all, record, served, values};
use crate::environment::Environment;
use crate::raw::{call, connect};

/// A leader, a follower, and one that is asked about both.
const BROKERS: usize = 3;
/// From this version on, the environments have a controller of their own.
const WITH_KRAFT: [u32; 2] = [3, 5];
/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_writer_is_told_which_acknowledged_records_an_unclean_election_has_lost() {
    crate::alone(|environment| async move {
        if let Some((brokers, why)) = why_not(&environment) {
            let test = "unclean::a_writer_is_told_which_acknowledged_records_an_unclean_election_has_lost";
            return common::skipped(brokers, test, why);
        }
        let client = environment.client("PLAINTEXT").build().await.unwrap();
        let topic = new_topic("unclean");
        let created = client.create_topic(&topic, 1, 2).config("min.insync.replicas", "1");
        created.config("unclean.leader.election.enable", "true").await.unwrap();
        let log = served(&client, &topic, 0).await;
        for value in ["kept 0", "kept 1"] {
            log.produce([record(value)]).await.unwrap();
        }
        let partition = Partition::of(&environment, &topic).await;
        let (leader, follower) = partition.replicas().await;

        let follower_stands_still = process(&environment, follower).stop().await.unwrap();
        // Before that, its last fetch may wait at the leader, and be answered with the records appended next.
        partition.once("the follower leaves", |known| known.isr_nodes == [leader]).await;
        for value in ["lost 2", "lost 3"] {
            log.produce([record(value)]).await.unwrap();
        }
        let mut reader = log.stream(StartAt::Earliest).build();
        for offset in 0..4 {
            assert_eq!(reader.try_next().await.unwrap().unwrap().offset, offset);
        }
        let stored = reader.position().unwrap().to_bytes();
        let leader_stands_still = process(&environment, leader).stop().await.unwrap();
        drop(follower_stands_still);
        partition.once("the follower is elected", |known| known.leader_id == follower).await;
        // Before it knows, it may still ask the old leader for what it lacks.
        leads(&environment, &topic, follower).await;
        drop(leader_stands_still);
        partition.once("the old leader follows", |known| known.isr_nodes.len() == 2).await;

        let error = log.produce([record("late")]).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 2 }, "{error:?}");
        // It is final for this writer, and for this one only.
        let again = log.produce([record("again")]).await.unwrap_err();
        assert_eq!((again.kind(), again.outcome()), (error.kind(), Outcome::NotWritten));
        let other = served(&client, &topic, 0).await;
        assert_eq!(other.produce([record("other")]).await.unwrap().base_offset, 2);
        assert_eq!(values(&read_all(&other).await), ["kept 0", "kept 1", "other"]);
        // What was read is gone: the reader that read it finds out, and so does one that begins at its position.
        let lost = ErrorKind::LogTruncated { divergence_offset: 2 };
        assert_eq!(reader.try_next().await.unwrap_err().kind(), &lost);
        let restarted = environment.client("PLAINTEXT").build().await.unwrap();
        let log = served(&restarted, &topic, 0).await;
        let start = StartAt::Position(Position::from_bytes(&stored).unwrap());
        assert_eq!(log.stream(start).build().try_next().await.unwrap_err().kind(), &lost);
        let mut reader = log.stream(start).on_out_of_range(OutOfRange::Continue).build();
        assert_eq!(reader.try_next().await.unwrap_err().kind(), &lost);
        let next = reader.try_next().await.unwrap().unwrap();
        assert_eq!((next.offset, next.record.value.as_deref()), (2, Some(&b"other"[..])));
        client.delete_topic(&topic).await.unwrap();
    });
}

/// The brokers with which the test shows nothing, and why.
pub fn why_not(environment: &Environment) -> Option<(&'static str, &'static str)> {
    let version = environment.fact("version").split('.').map(|number| number.parse().unwrap());
    if version.collect::<Vec<u32>>() < WITH_KRAFT.to_vec() {
        return Some(("ZooKeeper", "the controller is a broker, which may be one of those that stand still"));
    }
    let count = environment.list("listener.PLAINTEXT").len();
    (count < BROKERS).then_some(("fewer than three brokers", "nobody else can be elected"))
}

/// Waits until a broker leads the topic's partition as far as it knows itself.
async fn leads(environment: &Environment, topic: &str, broker: i32) {
    let address: Endpoint = environment.list("listener.PLAINTEXT")[broker as usize - 1].parse().unwrap();
    let connection = connect(address).await;
    let partition = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let asking = async {
        while !call(&connection, &request).await.topics[0].partitions[0].error_code.is_ok() {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("it does not lead");
}

fn process(environment: &Environment, broker: i32) -> BrokerProcess {
    let pid = environment.list("broker.pids")[broker as usize - 1].parse().unwrap();
    BrokerProcess::with_pid(pid).unwrap()
}

/// A partition, as a broker without a replica of it knows it.
struct Partition {
    broker: Connection,
    topic: String,
}

impl Partition {
    async fn of(environment: &Environment, topic: &str) -> Self {
        for (address, id) in environment.list("listener.PLAINTEXT").iter().zip(1..) {
            let (host, port) = address.split_once(':').unwrap();
            let broker = connect(Endpoint::new(host, port.parse().unwrap())).await;
            let partition = Self { broker, topic: topic.to_owned() };
            if !partition.once("it knows the topic", |_| true).await.replica_nodes.contains(&id) {
                return partition;
            }
        }
        panic!("every broker has a replica")
    }

    /// The leader, and the replica that follows it.
    async fn replicas(&self) -> (i32, i32) {
        let whole = self.once("both are in sync", |known| known.isr_nodes.len() == 2).await;
        let follower = whole.replica_nodes.iter().find(|replica| **replica != whole.leader_id);
        (whole.leader_id, *follower.unwrap())
    }

    /// What the broker knows once it is so.
    async fn once(
        &self,
        what: &str,
        is_so: impl Fn(&MetadataResponsePartition) -> bool,
    ) -> MetadataResponsePartition {
        let topic = MetadataRequestTopic { name: Some(self.topic.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let asking = async {
            loop {
                let known = call(&self.broker, &request).await.topics.remove(0).partitions;
                if let Some(known) = known.into_iter().next().filter(&is_so) {
                    return known;
                }
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("it does not happen: {what}"))
    }
}
