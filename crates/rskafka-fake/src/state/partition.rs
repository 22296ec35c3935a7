//! A partition: who leads it, who holds it, and its log.
//!
//! Invariant: the leader is in sync; its epoch grows by one with each change of leader.

use rskafka_protocol::ErrorCode;

use super::Log;

#[derive(Debug)]
pub(crate) struct Partition {
    /// `None` while no replica in sync runs.
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    /// The brokers that hold the partition, the preferred leader first.
    pub(crate) replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub(crate) isr: Vec<i32>,
    pub(crate) log: Log,
}

impl Partition {
    /// A new partition. With none of its replicas running it has no leader.
    pub(crate) fn new(replicas: Vec<i32>, is_alive: impl Fn(i32) -> bool) -> Self {
        let alive: Vec<i32> = replicas.iter().copied().filter(|&id| is_alive(id)).collect();
        let isr = if alive.is_empty() { replicas.clone() } else { alive.clone() };
        let mut log = Log::default();
        log.begin_epoch(0);
        Self { leader: alive.first().copied(), leader_epoch: 0, replicas, isr, log }
    }

    /// The leader's id on the wire.
    pub(crate) fn leader_id(&self) -> i32 {
        self.leader.unwrap_or(-1)
    }

    pub(crate) fn check_leader(&self, broker: i32) -> Result<(), ErrorCode> {
        if self.leader == Some(broker) { Ok(()) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    /// Compares the epoch that a request carries (KIP-320); -1 is always right. A broker that does not
    /// hold the partition has none to compare with.
    pub(crate) fn check_epoch(&self, broker: i32, current_leader_epoch: i32) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        match current_leader_epoch {
            -1 => Ok(()),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            epoch if epoch > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Gives the partition a leader, or none, under the next epoch.
    pub(crate) fn elect(&mut self, leader: Option<i32>) {
        if self.leader != leader {
            self.leader = leader;
            self.leader_epoch += 1;
            if leader.is_some() {
                self.log.begin_epoch(self.leader_epoch);
            }
        }
    }

    /// Takes a broker that stopped out of the ISR; if it led, the next in sync takes over.
    pub(crate) fn broker_stopped(&mut self, broker: i32) -> bool {
        if !self.isr.contains(&broker) {
            return false;
        }
        // The last one in sync stays listed: only it may lead again without losing records.
        if self.isr.len() > 1 {
            self.isr.retain(|&id| id != broker);
        }
        if self.leader == Some(broker) {
            let next = self.replicas.iter().copied().find(|&id| id != broker && self.isr.contains(&id));
            self.elect(next);
        }
        true
    }

    /// Brings a broker that started back into the ISR; it leads if no other does.
    pub(crate) fn broker_started(&mut self, broker: i32) -> bool {
        if !self.replicas.contains(&broker) {
            return false;
        }
        if self.leader.is_none() {
            // Only a replica that was in sync at the end has every record.
            if !self.isr.contains(&broker) {
                return false;
            }
            self.elect(Some(broker));
        } else if !self.isr.contains(&broker) {
            self.isr.push(broker);
        }
        true
    }
}
