//! Makes the faults of a plan happen when their moments come.
//!
//! Invariant: whatever waits for a fault goes on when the fault has happened, also if it could not.

use std::sync::Arc;
use std::time::Duration;

use rskafka::protocol::ApiKey;
use rskafka_fake::{ByteFault, FakeCluster, Fault, FaultId};
use tokio::task::JoinSet;

use super::network::Fired;
use super::plan::{Applied, Kind, Plan, PlannedFault, Way, What};
use super::run::{BROKERS, Setup, Stage, TOPIC};

pub(super) struct Director {
    cluster: FakeCluster,
    stage: Arc<Stage>,
    plan: Plan,
    partitions: i32,
    /// Faults of requests, which strike when the broker takes the request.
    injected: Vec<(FaultId, &'static str)>,
    /// What ends a fault some time later.
    healing: JoinSet<()>,
}

impl Director {
    pub(super) fn new(cluster: FakeCluster, stage: Arc<Stage>, setup: &Setup) -> Self {
        let (plan, partitions) = (setup.plan.clone(), setup.profile.partitions as i32);
        Self { cluster, stage, plan, partitions, injected: Vec::new(), healing: JoinSet::new() }
    }

    /// Directs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let Fired { index, broker } = self.stage.network.fired().await;
            let planned = self.plan.faults().find(|(number, _)| *number == index).map(|(_, fault)| *fault);
            if let Some(fault) = planned {
                self.stage.network.note(|| format!("fault {index} at broker {broker}: {:?}", fault.kind));
                self.strike(fault, broker).await;
            }
            self.stage.network.done(index);
        }
    }

    async fn strike(&mut self, fault: PlannedFault, broker: i32) {
        let PlannedFault { moment, kind } = fault;
        if let Some(fault) = request_fault(kind) {
            let fault = match moment.what {
                What::Produce => fault.on(ApiKey::PRODUCE),
                What::Fetch => fault.on(ApiKey::FETCH),
                What::Other => fault,
            };
            self.injected.push((self.cluster.inject(fault.at_broker(broker)), kind.name()));
            return;
        }
        if let Some(fault) = byte_fault(kind) {
            let id = self.cluster.inject_bytes(fault.at_broker(broker));
            match kind {
                Kind::Trickle(.., time) => {
                    let (cluster, stage) = (self.cluster.clone(), self.stage.clone());
                    self.heal_after(time, async move {
                        stage.struck(kind.name(), cluster.struck(id));
                        cluster.remove_fault(id);
                    });
                }
                _ => self.injected.push((id, kind.name())),
            }
            return;
        }
        // The request whose moment it is waits, and so is in flight.
        let network = self.stage.network.clone();
        let mut is_struck = true;
        match kind {
            Kind::MoveLeader => is_struck = self.move_leader(broker),
            Kind::Crash(time) | Kind::ShutDown(time) => {
                // Fails only for a broker that is not there.
                let _ = match kind {
                    Kind::Crash(_) => self.cluster.stop_broker(broker).await,
                    _ => self.cluster.shut_down_broker(broker).await,
                };
                let cluster = self.cluster.clone();
                self.heal_after(time, async move {
                    let _ = cluster.start_broker(broker).await;
                });
            }
            Kind::CutConnections => {
                let _ = self.cluster.cut_connections(broker);
            }
            Kind::Unreachable(time) => {
                network.set_unreachable(broker, true);
                self.heal_after(time, async move { network.set_unreachable(broker, false) });
            }
            Kind::Refused(time) => {
                network.set_refusing(broker, true);
                let _ = self.cluster.cut_connections(broker);
                self.heal_after(time, async move { network.set_refusing(broker, false) });
            }
            Kind::DeleteRecords(percent) => is_struck = self.delete_records(percent),
            _ => {}
        }
        if is_struck {
            self.stage.struck(kind.name(), 1);
        }
    }

    fn heal_after(&mut self, time: Duration, heal: impl Future<Output = ()> + Send + 'static) {
        self.healing.spawn(async move {
            tokio::time::sleep(time).await;
            heal.await;
        });
    }

    /// Takes a partition from the broker that leads it.
    fn move_leader(&self, broker: i32) -> bool {
        let Some(partition) = self.partition_led_by(broker) else {
            return false;
        };
        let others = [broker % BROKERS + 1, (broker + 1) % BROKERS + 1];
        others.into_iter().any(|other| self.cluster.move_leader(TOPIC, partition, other).is_ok())
    }

    fn partition_led_by(&self, broker: i32) -> Option<i32> {
        let leads =
            |partition: &i32| self.cluster.leader(TOPIC, *partition).is_ok_and(|it| it == Some(broker));
        (0..self.partitions).find(leads)
    }

    fn delete_records(&self, percent: u8) -> bool {
        let partition = i32::from(percent) % self.partitions;
        let Ok(log) = self.cluster.log(TOPIC, partition) else {
            return false;
        };
        let (start, end) = (log.log_start_offset, log.high_watermark);
        let before = start + (end - start) * i64::from(percent) / 100;
        self.cluster.delete_records(TOPIC, partition, before).is_ok()
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        for (fault, name) in &self.injected {
            self.stage.struck(name, self.cluster.struck(*fault));
        }
    }
}

/// The fault of the cluster that strikes the bytes of a connection.
fn byte_fault(kind: Kind) -> Option<ByteFault> {
    let (fault, way, bytes) = match kind {
        Kind::CutBytes(way, bytes) => (ByteFault::cut(), way, bytes),
        Kind::Stall(way, bytes, time) => (ByteFault::stall(time), way, bytes),
        Kind::Trickle(way, bytes, bytes_per_second, _) => (ByteFault::slow(bytes_per_second), way, bytes),
        _ => return None,
    };
    Some(match way {
        Way::Request => fault.after_received(bytes),
        Way::Answer => fault.after_sent(bytes),
    })
}

/// The fault of the cluster that strikes a single request.
fn request_fault(kind: Kind) -> Option<Fault> {
    let applied = |fault: Fault, applied| match applied {
        Applied::Yes => fault.after_applying(),
        Applied::No => fault.before_applying(),
    };
    Some(match kind {
        Kind::Code(code, is_applied) => applied(Fault::answer(code), is_applied),
        Kind::Swallow(is_applied) => applied(Fault::swallow(), is_applied),
        Kind::Close(is_applied) => applied(Fault::close(), is_applied),
        Kind::Late(time) => Fault::delay(time),
        Kind::WrongCorrelationId(by) => Fault::wrong_correlation_id(by),
        Kind::Shortened(bytes) => Fault::shorten(bytes),
        Kind::Lengthened(bytes) => Fault::lengthen(vec![7; bytes]),
        Kind::CutAt(position) => Fault::cut_at(position),
        Kind::Garbage => Fault::raw(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        _ => return None,
    })
}
