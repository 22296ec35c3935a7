//! A partition: who holds it, who leads it, and how far they have come.
//!
//! Invariant: the leader is in sync and runs, as far as the cluster knows; its epoch grows by one with each
//! change of leader; what is below the high watermark is in every log in sync, unless a log was damaged on
//! command.

use rskafka_protocol::ErrorCode;

use super::log::Stored;
use super::replica::Replica;

#[derive(Debug)]
pub(crate) struct Partition {
    /// `None` while no replica in sync runs.
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    /// The epoch with which the present leader began.
    pub(crate) led_since: i32,
    /// The preferred leader first.
    pub(crate) replicas: Vec<Replica>,
    /// The brokers in sync.
    pub(crate) isr: Vec<i32>,
    /// While fewer are in sync, nothing is committed.
    pub(crate) commits_with: usize,
}

impl Partition {
    /// A new partition. With none of its replicas running it has no leader.
    pub(crate) fn new(brokers: Vec<i32>, is_alive: impl Fn(i32) -> bool) -> Self {
        let alive: Vec<i32> = brokers.iter().copied().filter(|&id| is_alive(id)).collect();
        let isr = if alive.is_empty() { brokers.clone() } else { alive.clone() };
        let replicas = brokers.into_iter().map(|id| Replica::new(id, is_alive(id))).collect();
        let mut partition = Self {
            leader: alive.first().copied(),
            leader_epoch: 0,
            led_since: 0,
            replicas,
            isr,
            commits_with: 0,
        };
        if let Some(leader) = partition.leading_mut() {
            leader.log.begin_epoch(0);
        }
        partition
    }

    /// The leader's id on the wire.
    pub(crate) fn leader_id(&self) -> i32 {
        self.leader.unwrap_or(-1)
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = i32> {
        self.replicas.iter().map(|replica| replica.broker)
    }

    pub(crate) fn replica(&self, broker: i32) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.broker == broker)
    }

    pub(crate) fn replica_mut(&mut self, broker: i32) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.broker == broker)
    }

    pub(crate) fn leading_mut(&mut self) -> Option<&mut Replica> {
        self.replica_mut(self.leader?).filter(|leader| leader.alive)
    }

    /// The leader's copy; without a leader that of the last one in sync.
    pub(crate) fn latest(&self) -> Option<&Replica> {
        let broker = self.leader.or_else(|| self.isr.first().copied())?;
        self.replica(broker)
    }

    /// The copy at a broker that leads the partition.
    pub(crate) fn led_by(&self, broker: i32) -> Result<&Replica, ErrorCode> {
        let leads = self.leader == Some(broker);
        self.replica(broker).filter(|_| leads).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// Compares the epoch that a request carries (KIP-320); -1 is always right. A broker that does not
    /// hold the partition has none to compare with.
    pub(crate) fn check_epoch(&self, broker: i32, current_leader_epoch: i32) -> Result<&Replica, ErrorCode> {
        let replica = self.replica(broker).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        match current_leader_epoch {
            -1 => Ok(replica),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            epoch if epoch > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(replica),
        }
    }

    /// Appends a batch at the leader, and at all that follow it.
    pub(crate) fn append(&mut self, batch: Stored) {
        if let Some(leader) = self.leading_mut() {
            leader.append(batch);
        }
        self.replicate();
    }

    /// Lets all that follow the leader catch up, and the high watermark with them.
    pub(crate) fn replicate(&mut self) {
        let Some(place) = self.replicas.iter().position(|replica| Some(replica.broker) == self.leader) else {
            return;
        };
        if !self.replicas[place].alive {
            return;
        }
        let (before, rest) = self.replicas.split_at_mut(place);
        let Some((leader, after)) = rest.split_first_mut() else {
            return;
        };
        let mut committed = leader.log.end_offset();
        for follower in before.iter_mut().chain(after.iter_mut()) {
            if follower.alive && !follower.held {
                follower.follow(leader);
                if !self.isr.contains(&follower.broker) {
                    self.isr.push(follower.broker);
                }
            }
            if self.isr.contains(&follower.broker) {
                committed = committed.min(follower.fetched_to());
            }
        }
        if self.isr.len() >= self.commits_with {
            leader.high_watermark = leader.high_watermark.max(committed);
        }
        for follower in before.iter_mut().chain(after) {
            if follower.alive && !follower.held {
                follower.high_watermark = leader.high_watermark.min(follower.log.end_offset());
            }
        }
    }

    /// The first offset that some replica that runs still has.
    pub(crate) fn low_watermark(&self) -> i64 {
        let alive = self.replicas.iter().filter(|replica| replica.alive);
        alive.map(|replica| replica.log.start_offset()).min().unwrap_or(-1)
    }

    /// Gives the partition a leader, or none, under the next epoch.
    pub(crate) fn elect(&mut self, leader: Option<i32>) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        self.begin_epoch();
    }

    /// The leader begins another epoch, and its followers compare their logs with its.
    pub(crate) fn begin_epoch(&mut self) {
        self.leader_epoch += 1;
        self.led_since = self.leader_epoch;
        let (epoch, leader) = (self.leader_epoch, self.leader);
        for replica in &mut self.replicas {
            match Some(replica.broker) == leader {
                true => replica.log.begin_epoch(epoch),
                false => replica.has_another_leader(),
            }
        }
        self.replicate();
    }

    /// Makes a replica the leader even if it lacks records; the others lose what it lacks.
    pub(crate) fn elect_unclean(&mut self, leader: i32) {
        self.isr = vec![leader];
        self.leader = Some(leader);
        self.begin_epoch();
    }

    /// A broker has stopped: its copy no longer follows the leader.
    pub(crate) fn broker_stopped(&mut self, broker: i32, cleanly: bool) {
        if let Some(replica) = self.replica_mut(broker) {
            replica.stop(cleanly);
        }
    }

    /// Takes a broker that stopped out of the ISR; if it led, the next in sync takes over. With ZooKeeper
    /// another leader goes on under another epoch too.
    pub(crate) fn broker_missed(&mut self, broker: i32, unclean_election: bool, zookeeper: bool) -> bool {
        if self.replica(broker).is_none() {
            return false;
        }
        // The last one in sync stays listed: only it may lead again without losing records.
        let was_in_sync = self.isr.contains(&broker);
        if self.isr.len() > 1 {
            self.isr.retain(|&id| id != broker);
        }
        if zookeeper && was_in_sync && self.leader.is_some_and(|leader| leader != broker) {
            let led_since = self.led_since;
            self.begin_epoch();
            self.led_since = led_since;
        }
        if self.leader == Some(broker) {
            let alive = |replica: &&Replica| replica.alive;
            let in_sync = |replica: &&Replica| self.isr.contains(&replica.broker);
            let next = self.replicas.iter().filter(alive).find(in_sync).map(|replica| replica.broker);
            let any = self.replicas.iter().find(alive).map(|replica| replica.broker);
            match (next, any) {
                (None, Some(any)) if unclean_election => self.elect_unclean(any),
                _ => self.elect(next),
            }
        }
        self.replicate();
        true
    }

    /// Brings a broker that started back into the ISR; it leads if no other does.
    pub(crate) fn broker_started(
        &mut self,
        broker: i32,
        unclean_election: bool,
        now_ms: i64,
        expiration_ms: i64,
    ) -> bool {
        let Some(replica) = self.replica_mut(broker) else {
            return false;
        };
        replica.start(now_ms, expiration_ms);
        // Only a replica that was in sync at the end has every record.
        match (self.leader, self.isr.contains(&broker)) {
            (None, true) => self.elect(Some(broker)),
            (None, false) if unclean_election => self.elect_unclean(broker),
            _ => {}
        }
        self.replicate();
        true
    }
}

#[cfg(test)]
mod tests;
