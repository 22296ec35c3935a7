//! What happens to the leader while the demo runs: it is frozen, another is elected, and it is killed.
//!
//! Invariant: a fault is over when all replicas are in sync again and the writer was acknowledged; so one broker at most is
//! away. No more than a quarter of the records is appended meanwhile, so each fault strikes while there is something to do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rskafka_fake::FakeCluster;
use tokio::time::{Instant, sleep};

use super::PARTITION;
use crate::chaos::director::{PATIENCE, in_sync, longest_pause, until};
use crate::chaos::{Operator, Order, raw};
use crate::sim::live::Stage;

/// How long the embedded cluster takes to elect another leader.
const ELECTION: Duration = Duration::from_millis(500);

/// Has the embedded cluster do what Kafka does.
pub(super) struct Embedded<'a> {
    pub(super) cluster: &'a FakeCluster,
    pub(super) topic: &'a str,
}

impl Operator for Embedded<'_> {
    async fn order(&mut self, order: Order, broker: i32) -> Result<()> {
        match order {
            Order::Kill | Order::ShutDown => self.cluster.stop_broker(broker).await?,
            Order::Start => self.cluster.start_broker(broker).await?,
            Order::Thaw => self.cluster.rejoin_broker(broker)?,
            Order::Freeze => {
                self.cluster.isolate_broker(broker)?;
                sleep(ELECTION).await;
                self.elect(&[], self.topic, 1).await?;
            }
        }
        Ok(())
    }

    async fn elect(&mut self, _: &[String], topic: &str, _: usize) -> Result<()> {
        let leader = self.cluster.leader(topic, PARTITION)?.unwrap_or_default();
        let other = leader % self.cluster.bootstrap_servers().len() as i32 + 1;
        self.cluster.move_leader(topic, PARTITION, other)?;
        Ok(())
    }
}

/// To whom faults happen, and who is told of them.
pub(super) struct Faults<'a> {
    pub(super) stage: &'a Stage,
    pub(super) topic: &'a str,
    pub(super) brokers: &'a [String],
    pub(super) records: u32,
    pub(super) tell: &'a dyn Fn(&str),
}

/// The faults, and the orders that take a broker away and bring it back. After the freeze another one leads than the one that an
/// election prefers.
const FAULTS: [(&str, Option<(Order, Order)>); 3] = [
    ("freeze", Some((Order::Freeze, Order::Thaw))),
    ("elect", None),
    ("kill", Some((Order::Kill, Order::Start))),
];

impl Faults<'_> {
    /// Has each fault strike when a further quarter of the records is appended. Gives how many struck.
    pub(super) async fn strike(self, mut operator: impl Operator) -> Result<usize> {
        for (quarter, (fault, away)) in (1..).zip(FAULTS) {
            self.allow(quarter + 1);
            until("nothing is appended any more", PATIENCE, async || self.has_appended(quarter)).await?;
            let (leader, since) = (self.leader().await?, Instant::now());
            match away {
                Some((gone, _)) => operator.order(gone, leader).await?,
                None => operator.elect(self.brokers, self.topic, 1).await?,
            }
            let went_on = self.goes_on(leader, quarter + 1).await;
            if let Some((_, back)) = away {
                operator.order(back, leader).await?;
            }
            went_on?;
            in_sync(self.brokers, self.topic).await?;
            let (to, pause) = (self.leader().await?, longest_pause(&self.stage.acknowledgements(0), since));
            (self.tell)(&format!(
                "{fault}: broker {leader} led, now broker {to}; appends paused {pause:.2?}"
            ));
        }
        self.stage.allowed.send_replace(u32::MAX);
        Ok(FAULTS.len())
    }

    /// Waits until another broker leads, and has acknowledged something, or all that is allowed is appended.
    async fn goes_on(&self, leader: i32, quarters: u64) -> Result<()> {
        let has_moved = async || self.leader().await.is_ok_and(|leads| leads >= 0 && leads != leader);
        until("no other broker leads", PATIENCE, has_moved).await?;
        let moved = Instant::now();
        let is_acknowledged = || self.stage.acknowledgements(0).last().is_some_and(|last| *last > moved);
        let goes_on = async || is_acknowledged() || self.has_appended(quarters);
        until("the writer is not acknowledged any more", PATIENCE, goes_on).await
    }

    fn quarters(&self, quarters: u64) -> u64 {
        u64::from(self.records) * quarters / 4
    }

    fn has_appended(&self, quarters: u64) -> bool {
        self.stage.appended.records() >= self.quarters(quarters)
    }

    fn allow(&self, quarters: u64) {
        self.stage.allowed.send_replace(self.quarters(quarters).max(1) as u32);
    }

    /// What the first broker that answers says.
    async fn leader(&self) -> Result<i32> {
        let mut last = None;
        for broker in self.brokers {
            match raw::partitions(broker, self.topic).await {
                Ok(known) => return Ok(known.first().context("no partition")?.leader_id),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there is no broker")?)
    }
}
