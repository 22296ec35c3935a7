//! Makes the faults of a plan happen at their moments.
//!
//! Invariant: a request that waits for a fault is released, even if the fault was not possible.

mod log;

use std::sync::Arc;
use std::time::Duration;

use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{ByteFault, ControlError, FakeCluster, Fault, FaultId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::kind::{Applied, Kind, Way};
use super::network::{Fired, Trouble};
use super::plan::What;
use super::run::{BROKERS, Stage, TOPIC};

pub(super) use self::log::end_with_markers;

/// The requests that a broker may answer with REBOOTSTRAP_REQUIRED, each from a version on.
const REBOOTSTRAP_FROM: [(ApiKey, i16); 2] = [(ApiKey::METADATA, 13), (ApiKey::API_VERSIONS, 5)];

pub(super) struct Director {
    cluster: FakeCluster,
    stage: Arc<Stage>,
    fired: mpsc::Receiver<Fired>,
    /// How many producers with transactions there were.
    transactions: u32,
    /// Faults that the cluster strikes with when requests or bytes come.
    injected: Vec<(FaultId, String)>,
    /// What ends a fault some time later.
    healing: JoinSet<()>,
}

impl Director {
    pub(super) fn new(stage: Arc<Stage>, fired: mpsc::Receiver<Fired>) -> Self {
        let (cluster, healing) = (stage.network.cluster.clone(), JoinSet::new());
        Self { cluster, stage, fired, transactions: 0, injected: Vec::new(), healing }
    }

    /// Directs until the actors are done. A fault that has begun is carried out completely.
    pub(super) async fn run(mut self, mut is_over: oneshot::Receiver<()>) {
        loop {
            let fired = tokio::select! {
                biased;
                _ = &mut is_over => return,
                Some(fired) = self.fired.recv() => fired,
            };
            let Fired { number, kind, broker, what, .. } = fired;
            self.stage.network.note(|| format!("fault {number} at broker {broker}: {kind:?}"));
            self.strike(kind, what, broker).await;
            drop(fired);
        }
    }

    async fn strike(&mut self, kind: Kind, what: What, broker: i32) {
        let mut injected = Vec::new();
        if let Some(fault) = request_fault(kind) {
            let fault = match what {
                What::Produce => fault.on(ApiKey::PRODUCE),
                What::Fetch => fault.on(ApiKey::FETCH),
                What::Other => fault,
            };
            injected.push(self.cluster.inject(fault.at_broker(broker)));
        } else if let Some(fault) = byte_fault(kind) {
            injected.push(self.cluster.inject_bytes(fault.at_broker(broker)));
        } else if let Kind::Rebootstrap(_) = kind {
            let may = |(api, from): &(ApiKey, i16)| self.stage.speaks(*api, *from);
            for (api, _) in REBOOTSTRAP_FROM.into_iter().filter(may) {
                let fault = Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(api).always();
                injected.push(self.cluster.inject(fault));
            }
        // The request of this moment waits, so it is in flight.
        } else if self.happen(kind, broker).await.is_ok() {
            self.stage.struck(kind.name(), 1);
        }
        for id in injected {
            self.injected.push((id, kind.name()));
            if let Kind::Flaky(.., time) | Kind::Trickle(.., time) | Kind::Rebootstrap(time) = kind {
                let (cluster, stage) = (self.cluster.clone(), self.stage.clone());
                self.heal_after(time, async move {
                    // The cluster forgets it.
                    stage.struck(kind.name(), cluster.struck(id).min(1));
                    cluster.remove_fault(id);
                });
            }
        }
    }

    /// Applies a fault to the cluster or the network; an error means that it is not possible at the moment.
    async fn happen(&mut self, kind: Kind, broker: i32) -> Result<(), ControlError> {
        let cluster = self.cluster.clone();
        match kind {
            Kind::MoveLeader => self.move_leader(broker)?,
            Kind::Crash(time)
            | Kind::CrashLosingTail(time, _)
            | Kind::CrashUnnoticed(time, _)
            | Kind::ShutDown(time) => {
                self.stop(kind, broker).await?;
                if let Kind::CrashLosingTail(_, batches) = kind {
                    self.lose_tail(broker, batches)?;
                }
                let stage = self.stage.clone();
                self.heal_after(time, async move {
                    // Fails only for a broker that is not there.
                    let _ = cluster.start_broker(broker).await;
                    stage.partitions().for_each(|partition| stage.book.rules(partition as usize).restarted());
                });
            }
            Kind::CutConnections => cluster.cut_connections(broker)?,
            Kind::SwapAddresses => {
                let [other, _] = others(broker);
                for moved in [broker, other] {
                    // It was restarted there, so it knows its own address.
                    cluster.release_metadata(moved)?;
                }
                cluster.swap_addresses(broker, other).await?;
            }
            Kind::StaleMetadata(time) => {
                for other in others(broker) {
                    cluster.hold_metadata(other)?;
                }
                self.heal_after(time, async move {
                    // Fails only if there is no such broker.
                    others(broker).map(|other| cluster.release_metadata(other)).into_iter().for_each(drop);
                });
                self.move_leader(broker)?;
            }
            Kind::Unreachable(time) => self.trouble(Trouble::Unreachable, broker, time),
            Kind::Refused(time) => {
                self.trouble(Trouble::Refusing, broker, time);
                cluster.cut_connections(broker)?;
            }
            Kind::CloseOpened(time) => {
                self.trouble(Trouble::Closing, broker, time);
                cluster.cut_connections(broker)?;
            }
            Kind::Quota(way, bytes_per_second, time) => {
                let set = move |quota| match way {
                    Way::Request => cluster.set_produce_quota(quota),
                    Way::Answer => cluster.set_fetch_quota(quota),
                };
                set(Some(bytes_per_second));
                self.heal_after(time, async move { set(None) });
            }
            _ => self.change_log(kind, broker)?,
        }
        Ok(())
    }

    /// Ends a broker as the fault says.
    async fn stop(&self, kind: Kind, broker: i32) -> Result<(), ControlError> {
        if let Kind::CrashUnnoticed(_, unnoticed) = kind {
            self.cluster.miss_crashes_after(unnoticed);
        }
        let stopped = match kind {
            Kind::ShutDown(_) => self.cluster.shut_down_broker(broker).await,
            _ => self.cluster.stop_broker(broker).await,
        };
        self.cluster.miss_crashes_after(Duration::ZERO);
        stopped
    }

    /// Disturbs the way to a broker for a time.
    fn trouble(&mut self, trouble: Trouble, broker: i32, time: Duration) {
        let network = self.stage.network.clone();
        network.set_trouble(trouble, broker, true);
        self.heal_after(time, async move { network.set_trouble(trouble, broker, false) });
    }

    fn heal_after(&mut self, time: Duration, heal: impl Future<Output = ()> + Send + 'static) {
        self.healing.spawn(async move {
            tokio::time::sleep(time).await;
            heal.await;
        });
    }

    fn release_after<const N: usize>(&mut self, time: Duration, partition: i32, followers: [i32; N]) {
        let cluster = self.cluster.clone();
        self.heal_after(time, async move {
            for follower in followers {
                // Fails only if there is no such replica.
                let _ = cluster.release_replica(TOPIC, partition, follower);
            }
        });
    }

    /// Takes a partition from the broker that leads it.
    fn move_leader(&self, broker: i32) -> Result<(), ControlError> {
        let partition = self.partition(broker);
        let [first, second] = others(broker);
        let moved = self.cluster.move_leader(TOPIC, partition, first);
        moved.or_else(|_| self.cluster.move_leader(TOPIC, partition, second)).map(drop)
    }

    /// A partition that the broker leads, or else the first.
    fn partition(&self, broker: i32) -> i32 {
        let leads =
            |partition: &i32| self.cluster.leader(TOPIC, *partition).is_ok_and(|it| it == Some(broker));
        self.stage.partitions().find(leads).unwrap_or_default()
    }

    /// Has the copies of a stopped broker lose batches, where another one in sync leads on with them.
    fn lose_tail(&self, broker: i32, batches: usize) -> Result<(), ControlError> {
        for partition in self.stage.partitions() {
            if self.cluster.leader(TOPIC, partition)?.is_some() {
                self.cluster.lose_tail(TOPIC, partition, broker, batches)?;
            }
        }
        Ok(())
    }
}

/// The brokers but one.
fn others(broker: i32) -> [i32; 2] {
    [broker % BROKERS + 1, (broker + 1) % BROKERS + 1]
}

impl Drop for Director {
    fn drop(&mut self) {
        for (fault, name) in &self.injected {
            self.stage.struck(name.clone(), self.cluster.struck(*fault).min(1));
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
pub(super) fn request_fault(kind: Kind) -> Option<Fault> {
    let applied = |fault: Fault, applied| match applied {
        Applied::Yes => fault.after_applying(),
        Applied::No => fault.before_applying(),
    };
    Some(match kind {
        Kind::Code(code, is_applied) => applied(Fault::answer(code), is_applied),
        Kind::Flaky(code, is_applied, _) => applied(Fault::answer(code), is_applied).by_chance(0.5).always(),
        Kind::Swallow(is_applied) => applied(Fault::swallow(), is_applied),
        Kind::Close(is_applied) => applied(Fault::close(), is_applied),
        Kind::Late(time) => Fault::delay(time),
        Kind::Throttle(time) => Fault::throttle(time),
        Kind::WrongCorrelationId(by) => Fault::wrong_correlation_id(by),
        Kind::Shortened(bytes) => Fault::shorten(bytes),
        Kind::Lengthened(bytes) => Fault::lengthen(vec![7; bytes]),
        Kind::CutAt(position) => Fault::cut_at(position),
        Kind::Garbage => Fault::raw(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        _ => return None,
    })
}
