//! Faults that change a partition's log.
//!
//! Invariant: the rules learn what was lost, and what readers may not see, before any reader can.

use std::time::Duration;

use rskafka::protocol::ApiKey;
use rskafka_fake::{ControlError, FakeCluster};

use super::super::kind::Kind;
use super::super::rules::{Fate, Term};
use super::super::run::{BROKERS, Stage, TOPIC};
use super::super::value::{Id, Value};
use super::{Director, others};

/// The number of the first producer with transactions, among the writers. It is its producer id too, which no broker gives
/// to another.
const TRANSACTIONAL: u32 = 1_000_000;
/// What tells readers of a truncation, and of another topic.
const EPOCHS: (ApiKey, i16) = (ApiKey::OFFSET_FOR_LEADER_EPOCH, 3);
const TOPIC_IDS: (ApiKey, i16) = (ApiKey::FETCH, 13);
/// The numbers of producers whose markers end a log.
const LAST: [i64; 3] = [2_000_001, 2_000_002, 2_000_003];

impl Director {
    /// Changes the log of a partition that a broker leads; an error says that it cannot be at the moment.
    pub(super) fn change_log(&mut self, kind: Kind, broker: i32) -> Result<(), ControlError> {
        let (cluster, partition) = (self.cluster.clone(), self.partition(broker));
        match kind {
            Kind::DeleteRecords(percent) => {
                let log = cluster.log(TOPIC, partition)?;
                let before = share(percent, log.log_start_offset, log.high_watermark);
                cluster.delete_records(TOPIC, partition, before)?;
                self.stage.book.rules(partition as usize).trimmed();
            }
            Kind::ForgetProducers => {
                cluster.forget_producers(TOPIC, partition)?;
                self.stage.book.rules(partition as usize).forgotten();
            }
            Kind::ReplicaLags(time) => {
                let [follower, _] = others(broker);
                cluster.hold_replica(TOPIC, partition, follower)?;
                self.release_after(time, partition, [follower]);
            }
            Kind::TooFewReplicas(time) => {
                self.release_after(time, partition, others(broker));
                for follower in others(broker) {
                    cluster.hold_replica(TOPIC, partition, follower)?;
                    cluster.shrink_isr(TOPIC, partition, follower)?;
                }
            }
            Kind::Transaction(is_committed, records, time) => {
                self.transact(partition, is_committed, records, time)?;
            }
            Kind::Compact => compact(&self.stage, partition)?,
            Kind::Truncate(percent) => {
                let log = cluster.log(TOPIC, partition)?;
                let at = share(percent, log.log_start_offset, log.end_offset);
                for replica in 1..=BROKERS {
                    // One in sync that stands still would lead with all of it.
                    cluster.release_replica(TOPIC, partition, replica)?;
                }
                let term = self.stage.term(partition as usize);
                cluster.truncate(TOPIC, partition, at)?;
                cut(&self.stage, partition, term, EPOCHS);
            }
            Kind::ElectUnclean(time) => self.elect_unclean(partition, broker, time)?,
            Kind::RecreateTopic => {
                cluster.recreate_topic(TOPIC)?;
                self.stage.partitions().for_each(|partition| cut(&self.stage, partition, None, TOPIC_IDS));
            }
            // All others were injected, or happen to brokers.
            _ => {}
        }
        Ok(())
    }

    /// Has a follower stand still for a time, and then lead.
    fn elect_unclean(&mut self, partition: i32, leader: i32, time: Duration) -> Result<(), ControlError> {
        let cluster = self.cluster.clone();
        let [follower, _] = others(leader);
        if cluster.leader(TOPIC, partition)? != Some(follower) {
            // One that follows would be in sync again at once.
            cluster.hold_replica(TOPIC, partition, follower)?;
        }
        // The leader is refused here.
        cluster.shrink_isr(TOPIC, partition, follower)?;
        let stage = self.stage.clone();
        self.heal_after(time, async move {
            let term = stage.term(partition as usize);
            let is_elected = has_only_lost(&cluster, partition, follower)
                && cluster.elect_unclean(TOPIC, partition, follower).is_ok();
            for replica in 1..=BROKERS {
                // One that led and stands still would go on giving what was cut off to readers who
                // cannot tell it an epoch, as followers do.
                if is_elected || replica == follower {
                    let _ = cluster.release_replica(TOPIC, partition, replica);
                }
            }
            if is_elected {
                cut(&stage, partition, term, EPOCHS);
            }
        });
        Ok(())
    }

    /// Appends records of a transaction, and ends it some time later.
    fn transact(
        &mut self,
        partition: i32,
        is_committed: bool,
        records: u32,
        time: Duration,
    ) -> Result<(), ControlError> {
        self.transactions += 1;
        let writer = TRANSACTIONAL + self.transactions;
        let producer = (i64::from(writer), 0);
        append(&self.stage, partition, writer, records)?;
        let (cluster, stage) = (self.cluster.clone(), self.stage.clone());
        self.heal_after(time, async move {
            // Fails while there is no leader: the transaction stays open.
            if cluster.end_transaction(TOPIC, partition, producer, is_committed).is_ok() {
                stage.book.rules(partition as usize).decided(writer, Some(is_committed));
            }
        });
        Ok(())
    }
}

/// Appends records of a producer with transactions.
fn append(stage: &Stage, partition: i32, writer: u32, records: u32) -> Result<(), ControlError> {
    let cluster = &stage.network.cluster;
    let ids = (0..records).map(|number| Id { writer, number });
    let producer = (i64::from(writer), 0);
    let first = cluster.append_in_transaction(TOPIC, partition, producer, ids.clone().map(Id::value))?;
    let committed = cluster.log(TOPIC, partition)?.high_watermark;
    let mut rules = stage.book.rules(partition as usize);
    rules.writer(writer, false, false);
    rules.decided(writer, None);
    for (id, offset) in ids.zip(first..) {
        rules.sent(id);
        rules.settled_in(None, id, if offset < committed { Fate::Acked(offset) } else { Fate::Unknown });
    }
    Ok(())
}

/// Has each log end in a transaction that was aborted, and in more markers.
pub(in crate::sim) fn end_with_markers(stage: &Stage) -> Result<(), ControlError> {
    for partition in stage.partitions() {
        append(stage, partition, LAST[0] as u32, 1)?;
        for producer in LAST {
            stage.network.cluster.end_transaction(TOPIC, partition, (producer, 0), producer == LAST[1])?;
            stage.book.rules(partition as usize).decided(producer as u32, Some(producer == LAST[1]));
        }
    }
    Ok(())
}

/// Compacts a log; what is removed counts as read.
fn compact(stage: &Stage, partition: i32) -> Result<(), ControlError> {
    let cluster = &stage.network.cluster;
    let before = cluster.log(TOPIC, partition)?;
    cluster.compact(TOPIC, partition)?;
    let after = cluster.log(TOPIC, partition)?;
    // What is damaged stays where it is.
    let (before, after) = (before.records().unwrap_or_default(), after.records().unwrap_or_default());
    let mut left = after.iter().map(|record| record.offset).peekable();
    let mut rules = stage.book.rules(partition as usize);
    for record in before {
        if left.next_if_eq(&record.offset).is_some() {
            continue;
        }
        let place = rules.place(record.offset);
        rules.read("the log cleaner", place, record.offset, Value::of(record.value.as_ref()));
        rules.compacted(record.offset);
    }
    Ok(())
}

/// The log of a partition has lost its end: it has only just been cut. Brokers that know an API can tell readers of it.
fn cut(stage: &Stage, partition: i32, term: Option<Term>, teller: (ApiKey, i16)) {
    let ends = stage.network.cluster.log(TOPIC, partition).map(|log| (log.end_offset, log.log_start_offset));
    let (at, log_start) = ends.unwrap_or_default();
    let mut rules = stage.book.rules(partition as usize);
    rules.cut(at, term, log_start);
    if !stage.speaks(teller.0, teller.1) {
        rules.cut_is_silent();
    }
}

/// Whether a follower's log is the beginning of the partition's: otherwise what was cut off or deleted meanwhile would be back
/// if it led. Of what was deleted a part may be missing, because the fake compacts all copies by the leader's records.
fn has_only_lost(cluster: &FakeCluster, partition: i32, follower: i32) -> bool {
    let logs = (cluster.log_at(TOPIC, partition, follower), cluster.log(TOPIC, partition));
    let (Ok(short), Ok(long)) = logs else { return false };
    let is_old = |last| long.batches.contains(last);
    short.log_start_offset >= long.log_start_offset && short.batches.last().is_none_or(is_old)
}

fn share(percent: u8, start: i64, end: i64) -> i64 {
    start + (end - start) * i64::from(percent) / 100
}
