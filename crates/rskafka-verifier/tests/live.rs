//! The rules of the simulation outside of it: an honest cluster passes, each planted bug is found.

mod bug;

use std::time::Duration;

use rskafka::client::Client;
use rskafka::fake::{FakeCluster, FakeClusterExt};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::Fault;
use rskafka_verifier::sim::{Finding, Live, LiveOutcome, Wrong};

use self::bug::Bug;

async fn live(prepare: impl FnOnce(&FakeCluster)) -> LiveOutcome {
    let cluster = FakeCluster::builder().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic("wal", 2, 3).unwrap();
    prepare(&cluster);
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
    let outcome = live(|_| {}).await;
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
        let outcome = live(|cluster| bug.plant(cluster)).await;
        let found: Vec<Wrong> = outcome.findings.iter().map(|finding| finding.wrong).collect();
        assert!(found.contains(&wrong), "{bug:?}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_come_to_the_end_is_found() {
    let outcome = live(|cluster| {
        cluster.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::FETCH).always());
    });
    let outcome = outcome.await;
    let overdue = |reader: &str| {
        let is_of = |finding: &&Finding| finding.wrong == Wrong::Overdue && finding.what.starts_with(reader);
        outcome.findings.iter().filter(is_of).count()
    };
    assert_eq!((overdue("the reader of"), overdue("the last reader of")), (2, 2), "{outcome:?}");
    assert!(outcome.findings.iter().any(|finding| finding.wrong == Wrong::Lost));
}
