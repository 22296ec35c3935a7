//! What tests do to the cluster from outside: move leaders, stop brokers, delete records.
//!
//! Invariant: a command that fails returns a typed error and changes nothing.

use std::fmt;

use rskafka_protocol::{ErrorCode, Uuid};
use snafu::{OptionExt, Snafu};

use super::topic::TopicRequest;
use super::{NewTopic, Partition, Replica, State, Topic};

/// A command to the cluster that cannot be carried out.
#[derive(Snafu)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such partition.
    #[snafu(display("no partition {partition} of topic {topic}"))]
    UnknownPartition {
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// There is no such topic.
    #[snafu(display("no topic {topic}"))]
    UnknownTopic {
        /// The topic's name.
        topic: String,
    },
    /// There is no such broker.
    #[snafu(display("no broker {broker}"))]
    UnknownBroker {
        /// The broker's id.
        broker: i32,
    },
    /// The broker does not run.
    #[snafu(display("broker {broker} does not run"))]
    BrokerStopped {
        /// The broker's id.
        broker: i32,
    },
    /// A cluster cannot have this setting.
    #[snafu(display("{reason}"))]
    InvalidSetting {
        /// Which one, and why.
        reason: String,
    },
    /// The broker's port cannot be listened on.
    #[snafu(display("broker {broker} cannot start"))]
    NotStarted {
        /// The broker's id.
        broker: i32,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The broker does not hold the partition.
    #[snafu(display("broker {broker} is no replica of partition {partition} of topic {topic}"))]
    NotReplica {
        /// The broker's id.
        broker: i32,
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// The broker runs, and would have to be stopped.
    #[snafu(display("broker {broker} runs: it has to be stopped first"))]
    BrokerRuns {
        /// The broker's id.
        broker: i32,
    },
    /// The replica follows the leader, and would be back in sync at once.
    #[snafu(display(
        "broker {broker} follows the leader of partition {partition} of topic {topic}: hold or stop it first"
    ))]
    Follows {
        /// The broker's id.
        broker: i32,
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// The replica is not in sync, and would lose records as a leader.
    #[snafu(display(
        "broker {broker} is not in sync with partition {partition} of topic {topic}: only an unclean election can make it the leader"
    ))]
    NotInSync {
        /// The broker's id.
        broker: i32,
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// The partition has no leader.
    #[snafu(display("partition {partition} of topic {topic} has no leader"))]
    NoLeader {
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
    },
    /// What is asked for could never strike, or would change nothing.
    #[snafu(display("it makes no sense: {reason}"))]
    NoSense {
        /// Why.
        reason: String,
    },
    /// There is nothing to append.
    #[snafu(display("there are no records to append"))]
    NoRecords,
    /// The topic cannot be created.
    #[snafu(display("cannot create topic {topic}: {code}: {reason}"))]
    TopicRefused {
        /// The topic's name.
        topic: String,
        /// The code that a client would get.
        code: ErrorCode,
        /// Why.
        reason: String,
    },
    /// The offset is beyond the log's end.
    #[snafu(display("offset {offset} is not in the log from {start} to {end}"))]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The log's first offset.
        start: i64,
        /// The offset after the last record.
        end: i64,
    },
}

impl fmt::Debug for ControlError {
    /// The message with its cause: what `unwrap` shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(self) {
            Some(source) => write!(f, "{self}: {source}"),
            None => write!(f, "{self}"),
        }
    }
}

impl State {
    pub(crate) fn create_topic(&mut self, request: TopicRequest) -> Result<Uuid, ControlError> {
        let topic = request.name.clone();
        let new = NewTopic::check(request, self, &[])
            .map_err(|(code, reason)| ControlError::TopicRefused { topic, code, reason })?;
        Ok(self.insert_topic(new))
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), ControlError> {
        self.remove_topic(name).map(drop).context(UnknownTopicSnafu { topic: name })
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Result<&Partition, ControlError> {
        let found =
            self.topic(topic).and_then(|topic| topic.partitions.get(usize::try_from(partition).ok()?));
        found.context(UnknownPartitionSnafu { topic, partition })
    }

    /// Changes a partition and wakes what waits for it.
    pub(super) fn change<T>(
        &mut self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let unknown = UnknownPartitionSnafu { topic, partition };
        let found = self.topics.get_mut(topic).context(unknown)?;
        let index = usize::try_from(partition).ok();
        let changed = change(index.and_then(|index| found.partitions.get_mut(index)).context(unknown)?)?;
        self.waiting.wake(found.id, partition);
        Ok(changed)
    }

    /// Changes a partition's copy at one broker.
    fn change_replica<T>(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
        change: impl FnOnce(&mut Replica) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        self.change(topic, partition, |found| {
            let replica = found.replica_mut(broker).context(NotReplicaSnafu { broker, topic, partition })?;
            let changed = change(replica)?;
            found.replicate();
            Ok(changed)
        })
    }

    fn check_alive(&self, broker: i32) -> Result<(), ControlError> {
        match self.broker(broker) {
            None => Err(ControlError::UnknownBroker { broker }),
            Some(found) if !found.alive => Err(ControlError::BrokerStopped { broker }),
            Some(_) => Ok(()),
        }
    }

    /// Makes a replica the leader, under the next epoch. Gives that epoch.
    pub(crate) fn move_leader(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
        unclean: bool,
    ) -> Result<i32, ControlError> {
        self.check_alive(broker)?;
        self.change(topic, partition, |found| {
            found.replica(broker).context(NotReplicaSnafu { broker, topic, partition })?;
            match (unclean, found.isr.contains(&broker)) {
                (true, _) => found.elect_unclean(broker),
                (false, true) => found.elect(Some(broker)),
                (false, false) => return NotInSyncSnafu { broker, topic, partition }.fail(),
            }
            Ok(found.leader_epoch)
        })
    }

    /// Stops or resumes a replica's fetching from its leader.
    pub(crate) fn hold_replica(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
        held: bool,
    ) -> Result<(), ControlError> {
        self.change_replica(topic, partition, broker, |replica| {
            replica.held = held;
            Ok(())
        })
    }

    /// Takes a replica out of those in sync.
    pub(crate) fn shrink_isr(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
    ) -> Result<(), ControlError> {
        self.change(topic, partition, |found| {
            let replica = found.replica(broker).context(NotReplicaSnafu { broker, topic, partition })?;
            if found.leader == Some(broker) || (replica.alive && !replica.held) {
                return FollowsSnafu { broker, topic, partition }.fail();
            }
            if found.isr.len() > 1 {
                found.isr.retain(|&id| id != broker);
            }
            found.replicate();
            Ok(())
        })
    }

    /// Has a stopped broker's copy lose its last batches, up to `batches`.
    pub(crate) fn lose_tail(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
        batches: usize,
    ) -> Result<(), ControlError> {
        if self.check_alive(broker).is_ok() {
            return Err(ControlError::BrokerRuns { broker });
        }
        self.change_replica(topic, partition, broker, |replica| {
            let divergence_offset = replica.log.batches().rev().take(batches).last();
            if let Some(offset) = divergence_offset.map(|batch| batch.base_offset) {
                replica.truncate(offset);
            }
            Ok(())
        })
    }

    /// Has a partition lose what is at or above `offset`, in all its copies, as after an unclean election.
    /// Gives the leader epoch from then on.
    pub(crate) fn truncate(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i32, ControlError> {
        self.change(topic, partition, |found| {
            let leader = found.leading_mut().context(NoLeaderSnafu { topic, partition })?;
            let (start, end) = (leader.log.start_offset(), leader.log.end_offset());
            if !(start..=end).contains(&offset) {
                return Err(ControlError::OffsetOutOfRange { offset, start, end });
            }
            leader.truncate(offset);
            found.begin_epoch();
            Ok(found.leader_epoch)
        })
    }

    /// Has every copy of a partition forget its producers.
    pub(crate) fn forget_producers(&mut self, topic: &str, partition: i32) -> Result<(), ControlError> {
        self.change(topic, partition, |found| {
            found.replicas.iter_mut().for_each(|replica| replica.producers = Default::default());
            Ok(())
        })
    }

    pub(crate) fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        before_offset: i64,
    ) -> Result<(), ControlError> {
        self.change(topic, partition, |found| {
            let leader = found.leading_mut().context(NoLeaderSnafu { topic, partition })?;
            let (start, end) = (leader.log.start_offset(), leader.high_watermark);
            if !(0..=end).contains(&before_offset) {
                return Err(ControlError::OffsetOutOfRange { offset: before_offset, start, end });
            }
            leader.log.delete_before(before_offset);
            found.replicate();
            Ok(())
        })
    }

    /// Deletes a topic and creates it again, with as many partitions at the same brokers and the same
    /// configs. Gives its new id.
    pub(crate) fn recreate_topic(&mut self, name: &str) -> Result<Uuid, ControlError> {
        let removed = self.remove_topic(name).context(UnknownTopicSnafu { topic: name })?;
        let Topic { name, partitions, configs, settings, .. } = removed;
        let assignments = partitions.iter().map(|partition| partition.brokers().collect()).collect();
        Ok(self.insert_topic(NewTopic { name, assignments, configs, settings }))
    }

    pub(crate) fn check_broker(&self, id: i32) -> Result<(), ControlError> {
        self.broker(id).map(drop).ok_or(ControlError::UnknownBroker { broker: id })
    }
}
