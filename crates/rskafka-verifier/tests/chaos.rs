//! Chaos from end to end, on the fake cluster: a kill is a crash, a freeze is a broker that nobody reaches, and the cluster
//! elects other leaders after a while.

#[allow(dead_code, reason = "two swapped batches would be of two partitions, led by two brokers")]
mod bug;

use std::time::Duration;

use anyhow::Result;
use rskafka_fake::FakeCluster;
use rskafka_verifier::chaos::{Operator, Options, Order, Profile, Report, Way, run};
use rskafka_verifier::proxy::Proxy;
use rskafka_verifier::sim::Wrong;

use self::bug::Bug;

/// The session of a broker.
const SESSION: Duration = Duration::from_millis(200);

struct Fake {
    cluster: FakeCluster,
    bug: Option<Bug>,
}

impl Operator for Fake {
    async fn order(&mut self, order: Order, broker: i32) -> Result<()> {
        if let Some(bug) = self.bug.take() {
            bug.plant(&self.cluster);
        }
        match order {
            Order::Kill => self.cluster.stop_broker(broker).await?,
            Order::ShutDown => self.cluster.shut_down_broker(broker).await?,
            Order::Start => self.cluster.start_broker(broker).await?,
            Order::Freeze => self.cluster.isolate_broker(broker)?,
            Order::Thaw => self.cluster.rejoin_broker(broker)?,
        }
        Ok(())
    }

    async fn elect(&mut self, _: &[String], topic: &str, partitions: usize) -> Result<()> {
        for partition in 0..partitions as i32 {
            let other = self.cluster.leader(topic, partition)?.map_or(1, |leader| leader % 3 + 1);
            self.cluster.move_leader(topic, partition, other)?;
        }
        Ok(())
    }
}

/// A run of twice so many rounds.
async fn chaos(seconds: u64, bug: Option<Bug>, profile: Profile) -> Report {
    let cluster = FakeCluster::builder().brokers(3).start().await.unwrap();
    cluster.miss_crashes_after(SESSION);
    let brokers = cluster.bootstrap_servers();
    let mut proxies = Vec::new();
    for (id, broker) in (1..).zip(&brokers) {
        let proxy = Proxy::start(broker).await.unwrap();
        cluster.advertise_address(id, "127.0.0.1", proxy.address().port()).unwrap();
        proxies.push(proxy);
    }
    let program = Some(env!("CARGO_BIN_EXE_rskafka-verifier").into());
    let every = Duration::from_millis(500);
    let options = Options { seed: 1, seconds, every, profile, program, ..Options::default() };
    let report =
        run(options, Way { brokers, proxies }, Fake { cluster: cluster.clone(), bug }).await.unwrap();
    cluster.shutdown().await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_cluster_is_verified_whatever_happens_to_its_brokers() {
    let report = chaos(6, None, Profile::Writers).await;
    assert!(report.is_verified(), "{report}");
    let struck = |name: &str| report.events.iter().filter(|event| event.fault.name() == name).count();
    assert!(struck("kill") > 1 && struck("freeze") > 1, "{report}");
    for name in ["roll", "elect", "config", "cut", "reset", "stall", "slow"] {
        assert!(struck(name) > 0, "no {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lies_is_found_out() {
    tokio::join!(
        is_found(Bug::LosesBatch, Wrong::Lost),
        is_found(Bug::AppendsTwice, Wrong::Duplicated),
        is_found(Bug::AnswersWrongOffset, Wrong::Misplaced),
        is_found(Bug::FlipsBit, Wrong::Corrupted),
    );
}

/// A run on a cluster with a bug ends with such a finding. A bug that strikes a call that is dropped shows nothing, so there
/// are more runs.
async fn is_found(bug: Bug, wrong: Wrong) {
    for _ in 0..5 {
        let report = chaos(1, Some(bug), Profile::Writers).await;
        if report.outcome.wrong.contains_key(&wrong) {
            assert!(report.to_string().lines().last().unwrap().starts_with("FAILED: "), "{report}");
            return;
        }
    }
    panic!("{bug:?} is not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_frozen_and_killed_take_an_exclusive_log_from_each_other() {
    let report = chaos(10, None, Profile::Claimants).await;
    let claims = report.claims.unwrap();
    assert!(report.is_verified() && claims.claims > 3 && claims.frozen > 1, "{report}");
}
