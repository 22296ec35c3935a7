//! The rules of the simulation outside of it: an honest cluster passes, each planted bug is found.

mod bug;

use std::time::Duration;

use rskafka::client::Client;
use rskafka::fake::{FakeCluster, FakeClusterExt};
use rskafka_verifier::sim::{Live, LiveOutcome, Wrong};

use self::bug::Bug;

async fn live(bug: Option<Bug>) -> LiveOutcome {
    let cluster = FakeCluster::builder().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic("wal", 2, 3).unwrap();
    bug.into_iter().for_each(|bug| bug.plant(&cluster));
    let env = cluster.env_builder().random_seed(1).build();
    let client = Client::builder(cluster.bootstrap_servers()).env(env);
    let live = Live {
        client,
        topic: "wal".to_owned(),
        partitions: 2,
        duration: Duration::from_millis(300),
        seed: 1,
    };
    live.run().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_honest_cluster_has_no_findings() {
    let outcome = live(None).await;
    assert_eq!(outcome.findings, []);
    assert!(outcome.acknowledged > 200 && outcome.unknown == 0, "{outcome:?}");
    assert!(outcome.read >= outcome.acknowledged && outcome.read <= outcome.sent, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_dishonest_cluster_does_is_found() {
    for (bug, wrong) in [
        (Bug::LosesBatch, Wrong::Lost),
        (Bug::AppendsTwice, Wrong::Duplicated),
        (Bug::SwapsTwo, Wrong::Misplaced),
        (Bug::AnswersWrongOffset, Wrong::Misplaced),
        (Bug::FlipsBit, Wrong::Corrupted),
    ] {
        let outcome = live(Some(bug)).await;
        let found: Vec<Wrong> = outcome.findings.iter().map(|finding| finding.wrong).collect();
        assert!(found.contains(&wrong), "{bug:?}: {found:?}");
    }
}
