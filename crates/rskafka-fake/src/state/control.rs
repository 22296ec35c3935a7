//! What tests do to the cluster from outside: move leaders, stop brokers, delete records.
//!
//! Invariant: a command that cannot be is a typed error and changes nothing.

use rskafka_protocol::{ErrorCode, Uuid};
use snafu::Snafu;

use super::topic::TopicRequest;
use super::{NewTopic, Partition, State, Topic};

/// A command to the cluster that cannot be carried out.
#[derive(Debug, Snafu)]
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
    /// The broker's port cannot be listened on again.
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

impl State {
    pub(crate) fn create_topic(&mut self, request: TopicRequest) -> Result<Uuid, ControlError> {
        let topic = request.name.clone();
        let new = NewTopic::check(request, self).map_err(|(code, reason)| ControlError::TopicRefused {
            topic,
            code,
            reason,
        })?;
        Ok(self.insert_topic(new))
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), ControlError> {
        let removed = self.remove_topic(name).map(drop);
        removed.ok_or_else(|| ControlError::UnknownTopic { topic: name.to_owned() })
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Result<&Partition, ControlError> {
        let found =
            self.topic(topic).and_then(|topic| topic.partitions.get(usize::try_from(partition).ok()?));
        found.ok_or_else(|| ControlError::UnknownPartition { topic: topic.to_owned(), partition })
    }

    /// Changes a partition and wakes what waits for it.
    fn change<T>(
        &mut self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        self.partition(topic, partition)?;
        let unknown = || ControlError::UnknownPartition { topic: topic.to_owned(), partition };
        let found: &mut Topic = self.topics.get_mut(topic).ok_or_else(unknown)?;
        let changed = change(&mut found.partitions[partition as usize])?;
        self.waiting.wake(found.id, partition);
        Ok(changed)
    }

    /// Makes a replica the leader, under the next epoch. Gives that epoch.
    pub(crate) fn move_leader(
        &mut self,
        topic: &str,
        partition: i32,
        broker: i32,
    ) -> Result<i32, ControlError> {
        match self.broker(broker) {
            None => return Err(ControlError::UnknownBroker { broker }),
            Some(found) if !found.alive => return Err(ControlError::BrokerStopped { broker }),
            Some(_) => {}
        }
        self.change(topic, partition, |found| {
            if !found.replicas.contains(&broker) {
                return Err(ControlError::NotReplica { broker, topic: topic.to_owned(), partition });
            }
            if !found.isr.contains(&broker) {
                found.isr.push(broker);
            }
            found.elect(Some(broker));
            Ok(found.leader_epoch)
        })
    }

    pub(crate) fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        before_offset: i64,
    ) -> Result<(), ControlError> {
        self.change(topic, partition, |found| {
            let (start, end) = (found.log.start_offset(), found.log.end_offset());
            if !(0..=end).contains(&before_offset) {
                return Err(ControlError::OffsetOutOfRange { offset: before_offset, start, end });
            }
            found.log.delete_before(before_offset);
            Ok(())
        })
    }

    /// Marks a broker as running or not, and lets the leaders follow.
    pub(crate) fn set_alive(&mut self, id: i32, alive: bool) -> Result<(), ControlError> {
        let Some(broker) = self.brokers.iter_mut().find(|broker| broker.id == id) else {
            return Err(ControlError::UnknownBroker { broker: id });
        };
        if broker.alive == alive {
            return Ok(());
        }
        broker.alive = alive;
        for topic in self.topics.values_mut() {
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                let changed = match alive {
                    true => partition.broker_started(id),
                    false => partition.broker_stopped(id),
                };
                if changed {
                    self.waiting.wake(topic.id, index);
                }
            }
        }
        Ok(())
    }
}
