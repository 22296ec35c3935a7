//! Which threads one append alone wakes: that decides how long it takes.

use tokio::runtime::{Builder, Handle};

use super::common::record;
use super::kit::{TOPIC, fake};

const APPENDS: u64 = 500;

/// How often the workers of this runtime have gone to sleep.
fn parks() -> u64 {
    let metrics = Handle::current().metrics();
    (0..metrics.num_workers()).map(|worker| metrics.worker_park_count(worker)).sum()
}

#[test]
fn a_lone_append_wakes_one_worker_once() {
    let brokers = Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let cluster = brokers.block_on(fake().start()).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let caller = async move {
        let client = rskafka::client::Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        log.produce([record("first")]).await.unwrap();
        let before = parks();
        for _ in 0..APPENDS {
            log.produce([record("lone")]).await.unwrap();
        }
        parks() - before
    };
    let parks = runtime.block_on(runtime.spawn(caller)).unwrap();
    // One sleep while the answer is awaited. A second worker that is woken goes to sleep again, too.
    assert!(parks <= APPENDS * 11 / 10, "{parks} for {APPENDS} appends");
}
