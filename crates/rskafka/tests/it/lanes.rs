//! What is on the wire, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::protocol::ApiKey;
use rskafka_fake::Fault;
use tokio::time::{Instant, sleep};

use super::common::record;
use super::kit::{TOPIC, builder, close_connections, fake, hang_ups, start};

#[tokio::test(start_paused = true)]
async fn two_requests_are_on_the_wire_before_the_first_answer() {
    let (cluster, _, log) = start(1).await;
    log.get_offset(OffsetAt::Latest).await.unwrap();
    cluster.clear_requests();
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::LIST_OFFSETS).times(2));
    let (first, second) = tokio::join!(log.get_offset(OffsetAt::Earliest), log.get_offset(OffsetAt::Latest));
    assert_eq!((first.unwrap().offset, second.unwrap().offset), (0, 0));
    let mut requests = cluster.requests();
    requests.retain(|request| request.api_key == ApiKey::LIST_OFFSETS);
    let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(first.connection, second.connection);
    assert!(second.arrived < first.answered.unwrap());
    // A broker takes one at a time.
    assert!(second.taken.unwrap() >= first.answered.unwrap());
}

#[tokio::test(start_paused = true)]
async fn produce_fetch_and_the_rest_have_connections_of_their_own() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    let connections = |apis: &[ApiKey]| -> BTreeSet<u64> {
        let requests = cluster.requests();
        let of_apis = requests.iter().filter(|request| apis.contains(&request.api_key));
        of_apis.map(|request| request.connection).collect()
    };
    let produce = connections(&[ApiKey::PRODUCE]);
    let fetch = connections(&[ApiKey::FETCH]);
    let shared = connections(&[ApiKey::LIST_OFFSETS]);
    assert_eq!((produce.len(), fetch.len(), shared.len()), (1, 1, 1));
    assert!(produce.is_disjoint(&fetch) && produce.is_disjoint(&shared) && fetch.is_disjoint(&shared));
}

#[tokio::test(start_paused = true)]
async fn a_partition_client_opens_no_connection_before_its_first_use() {
    let (cluster, client, _) = start(1).await;
    let before = cluster.open_connections(1).unwrap();
    for _ in 0..20 {
        client.partition_client(TOPIC, 0).await.unwrap();
    }
    assert_eq!(cluster.open_connections(1).unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn one_append_after_the_other_is_in_flight() {
    let (cluster, _, log) = start(1).await;
    let calls: Vec<_> = (0..5).map(|number| log.produce([record(number.to_string())])).collect();
    for call in calls {
        call.await.unwrap();
    }
    let requests: Vec<_> =
        cluster.requests().into_iter().filter(|it| it.api_key == ApiKey::PRODUCE).collect();
    assert_eq!(requests.len(), 5);
    for pair in requests.windows(2) {
        assert!(pair[1].arrived >= pair[0].answered.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_connections() {
    let (cluster, client, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(cluster.open_connections(1).unwrap(), 3);
    drop(client);
    log.produce([record("still")]).await.unwrap();
    drop(log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn old_brokers_are_spoken_to_in_their_versions() {
    // The lowest versions of each, and those of a broker without topic ids.
    for (produce, fetch, list, metadata) in [(3, 4, 1, 4), (7, 10, 4, 8), (9, 12, 6, 11), (13, 18, 10, 9)] {
        let cluster = fake()
            .in_memory()
            .advertise(ApiKey::PRODUCE, 3..=produce)
            .advertise(ApiKey::FETCH, 4..=fetch)
            .advertise(ApiKey::LIST_OFFSETS, 1..=list)
            .advertise(ApiKey::METADATA, 1..=metadata)
            .start()
            .await
            .unwrap();
        let client = builder(&cluster).build().await.unwrap();
        client.create_topic(TOPIC, 1, 1).await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        log.produce([record("one")]).await.unwrap();
        assert_eq!(super::common::values(&super::common::read_all(&log).await), ["one"]);
        let highest =
            |api| cluster.requests().iter().filter(|it| it.api_key == api).map(|it| it.api_version).max();
        // Without topic ids (metadata below version 10), names are the only way: up to version 12.
        assert_eq!(highest(ApiKey::PRODUCE), Some(produce.min(12)));
        assert_eq!(highest(ApiKey::FETCH), Some(fetch.min(12)));
    }
}

#[tokio::test(start_paused = true)]
async fn closing_the_client_ends_the_connections_of_its_partition_clients() {
    let (cluster, client, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(cluster.open_connections(1).unwrap(), 3);
    client.close().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
    drop(log);
}

#[test]
fn connections_live_on_the_runtime_of_the_client() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let (home, other) = (runtime(), runtime());
    let (cluster, log) = home.block_on(async {
        let cluster = fake().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let client = rskafka::client::Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        (cluster, client.partition_client(TOPIC, 0).await.unwrap())
    });
    // The fetch connection is opened by a caller on a runtime that then goes away.
    other.block_on(log.fetch_records(0, 1..1_000_000, 1)).unwrap();
    drop(other);
    home.block_on(async {
        log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
        let requests = cluster.requests();
        let fetches = requests.iter().filter(|request| request.api_key == ApiKey::FETCH);
        let connections: BTreeSet<u64> = fetches.map(|request| request.connection).collect();
        assert_eq!(connections.len(), 1);
    });
}

#[tokio::test(start_paused = true)]
async fn idle_lanes_are_closed_and_opened_again_without_an_error() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert_eq!(log.fetch_records(0, 1..1_000_000, 1).await.unwrap().0.len(), 2);
    // A broker that closes an idle connection first is no error either.
    close_connections(&cluster, 1).await;
    assert_eq!(log.produce([record("three")]).await.unwrap().base_offset, 2);
    assert_eq!(log.fetch_records(0, 1..1_000_000, 1).await.unwrap().0.len(), 3);
}

fn produce_connections(cluster: &rskafka_fake::FakeCluster) -> BTreeSet<u64> {
    let requests = cluster.requests();
    let produces = requests.iter().filter(|request| request.api_key == ApiKey::PRODUCE);
    produces.map(|request| request.connection).collect()
}

#[tokio::test(start_paused = true)]
async fn partition_clients_can_share_a_connection_per_broker_for_their_appends() {
    for (shares, connections) in [(true, 3), (false, 30)] {
        let cluster = fake().brokers(3).in_memory().start().await.unwrap();
        cluster.create_topic(TOPIC, 30, 3).unwrap();
        let builder = builder(&cluster);
        let builder = if shares { builder.share_produce_connections() } else { builder };
        let client = builder.build().await.unwrap();
        let mut calls = Vec::new();
        for partition in 0..30 {
            let log = client.partition_client(TOPIC, partition).await.unwrap();
            calls.extend((0..3).map(|number| log.produce([record(number.to_string())])));
        }
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(produce_connections(&cluster).len(), connections, "shares: {shares}");
        for partition in 0..30 {
            let stored = cluster.log(TOPIC, partition).unwrap();
            assert_eq!(stored.values().unwrap(), ["0", "1", "2"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_that_ends_is_replaced_once_for_all() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).share_produce_connections().build().await.unwrap();
    let mut logs = Vec::new();
    for _ in 0..20 {
        logs.push(client.partition_client(TOPIC, 0).await.unwrap());
    }
    for _ in 0..3 {
        let calls: Vec<_> = logs.iter().map(|log| log.produce([record("shared")])).collect();
        for call in calls {
            call.await.unwrap();
        }
        close_connections(&cluster, 1).await;
    }
    assert_eq!(produce_connections(&cluster).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn partition_clients_beyond_the_places_of_a_shared_connection_wait_for_one() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).share_produce_connections().build().await.unwrap();
    cluster.inject(Fault::delay(Duration::from_millis(5)).on(ApiKey::PRODUCE).always());
    let mut calls = Vec::new();
    for _ in 0..300 {
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        calls.push(log.produce([record("shared")]));
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(produce_connections(&cluster).len(), 1);
    assert_eq!(cluster.log(TOPIC, 0).unwrap().records().unwrap().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_producer_id_that_takes_seconds_delays_no_others_appends_over_a_shared_connection() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).share_produce_connections().build().await.unwrap();
    let [first, second] = [client.partition_client(TOPIC, 0), client.partition_client(TOPIC, 0)];
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    first.produce([record("first")]).await.unwrap();
    const TAKEN: Duration = Duration::from_millis(900);
    cluster.inject(Fault::delay(TAKEN).on(ApiKey::INIT_PRODUCER_ID));
    let since = Instant::now();
    let slow = tokio::spawn(second.produce([record("slow")]));
    // It has reached the broker.
    sleep(Duration::from_millis(100)).await;
    first.produce([record("second")]).await.unwrap();
    assert!(since.elapsed() < TAKEN / 2, "{:?}", since.elapsed());
    slow.await.unwrap().unwrap();
    assert!(since.elapsed() >= TAKEN, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn five_hundred_active_clients_of_three_brokers_stay_within_their_connections() {
    const CLIENTS: usize = 500;
    let cluster = fake().brokers(3).in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, CLIENTS as i32, 3).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let mut active = Vec::new();
    for partition in 0..CLIENTS {
        let log = client.partition_client(TOPIC, partition as i32).await.unwrap();
        active.push(tokio::spawn(async move {
            for number in 0..4 {
                assert_eq!(log.produce([record("busy")]).await.unwrap().base_offset, number);
                assert_eq!(log.fetch_records(number, 1..1_000_000, 1).await.unwrap().0.len(), 1);
            }
        }));
    }
    for task in active {
        task.await.unwrap();
    }
    let open: usize = (1..=3).map(|broker| cluster.open_connections(broker).unwrap()).sum();
    let requests = cluster.requests();
    let used: BTreeSet<u64> = requests.iter().map(|request| request.connection).collect();
    // One to produce and one to fetch for each, and one to each broker for all else.
    let most = 2 * CLIENTS + 3;
    assert!(open <= most && used.len() <= most + 3 * hang_ups(), "{open} open, {} used", used.len());
}
