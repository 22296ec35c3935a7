//! Who is at the other end: another cluster, another broker, or the same cluster at other addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::env::Env;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, ClientBuilder, Sasl};
use rskafka::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka::protocol::messages::metadata::MetadataResponse;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, FakeClusterBuilder, FakeSasl, Profile, SaslMechanism};
use tokio::time::Instant;

use super::common::{read_all, record, values};
use super::kit::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, assert_says, failure, fake, profile};
use super::relay::{Asked, change, env_meddling, env_relaying};

/// A switch that a test turns while others look at it.
#[derive(Debug, Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn turn(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Brokers that take appends by the topic's name, whatever cluster they are of.
fn by_name() -> FakeClusterBuilder {
    match profile() {
        Profile::Kafka4_4 => fake().in_memory().advertise(ApiKey::PRODUCE, 3..=12),
        _ => fake().in_memory(),
    }
}

async fn with_topic(builder: FakeClusterBuilder, replicas: i16) -> FakeCluster {
    let cluster = builder.start().await.unwrap();
    cluster.create_topic(TOPIC, 1, replicas).unwrap();
    cluster
}

fn builder(brokers: &[&str], env: Env) -> ClientBuilder {
    Client::builder(brokers.iter().map(|broker| format!("{broker}:9092")))
        .env(env)
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(TIMEOUT)
}

/// Cuts the connections of a broker, and lets the relay pass it on.
async fn cut_connections(cluster: &FakeCluster, broker: i32) {
    cluster.cut_connections(broker).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn asked_of(cluster: &FakeCluster) -> Vec<ApiKey> {
    let mut asked: Vec<_> = cluster.requests().iter().map(|request| request.api_key).collect();
    asked.sort();
    asked.dedup();
    asked
}

fn untouched(_: &Asked, frame: Bytes) -> Bytes {
    frame
}

/// Changes where brokers are said to be, in each answer that tells.
fn hosts(asked: &Asked, frame: Bytes, host: impl Fn(i32) -> String) -> Bytes {
    if asked.api != ApiKey::METADATA {
        return frame;
    }
    change(asked, &frame, |answer: &mut MetadataResponse| {
        for broker in &mut answer.brokers {
            broker.host = host(broker.node_id);
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_address_that_leads_to_another_cluster_gets_no_append() {
    let (ours, other) = (with_topic(by_name().seed(1), 1).await, with_topic(by_name().seed(2), 1).await);
    assert_ne!(ours.cluster_id(), other.cluster_id());
    let leads_astray = Switch::default();
    let route = {
        let (ours, other, leads_astray) = (ours.clone(), other.clone(), leads_astray.clone());
        move |host: &str| {
            let cluster = if leads_astray.is_on() { &other } else { &ours };
            Some((cluster.clone(), host.to_owned()))
        }
    };
    let client = builder(&["broker-1"], env_relaying(route, untouched).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();

    leads_astray.turn(true);
    cut_connections(&ours, 1).await;
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("astray")])).await;
    assert_eq!(error.outcome(), Outcome::NotWritten, "{error:?}");
    assert!(error.is_retriable());
    assert_says(
        &error,
        &["Produce on topic wal", "another cluster", &ours.cluster_id(), &other.cluster_id()],
    );
    assert_eq!(asked_of(&other), [ApiKey::METADATA, ApiKey::API_VERSIONS], "nothing else was asked there");
    assert!(other.log(TOPIC, 0).unwrap().records().unwrap().is_empty());
    assert_eq!(other.open_connections(1).unwrap(), 0);

    leads_astray.turn(false);
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn another_cluster_with_the_same_login_gets_no_append_either() {
    let login = || FakeSasl::new([SaslMechanism::Plain]).user("alice", "secret");
    let (ours, other) = (by_name().sasl(login()).seed(1), by_name().sasl(login()).seed(2));
    let (ours, other) = (with_topic(ours, 1).await, with_topic(other, 1).await);
    let leads_astray = Switch::default();
    let route = {
        let (ours, other, leads_astray) = (ours.clone(), other.clone(), leads_astray.clone());
        move |host: &str| {
            let cluster = if leads_astray.is_on() { &other } else { &ours };
            Some((cluster.clone(), host.to_owned()))
        }
    };
    let client = builder(&["broker-1"], env_relaying(route, untouched).build());
    let client = client.sasl(Sasl::plain("alice", "secret")).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();

    leads_astray.turn(true);
    cut_connections(&ours, 1).await;
    let error = failure(TIMEOUT, log.produce([record("astray")])).await;
    assert_eq!(error.outcome(), Outcome::NotWritten, "{error:?}");
    assert_says(&error, &["another cluster", &ours.cluster_id(), &other.cluster_id()]);
    assert!(other.log(TOPIC, 0).unwrap().records().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_one_address_leads_astray_the_others_are_used() {
    let (ours, other) = (by_name().brokers(3).seed(1), by_name().brokers(3).seed(2));
    let (ours, other) = (with_topic(ours, 3).await, with_topic(other, 3).await);
    let leads_astray = Switch::default();
    let leader = ours.leader(TOPIC, 0).unwrap().unwrap();
    let route = {
        let (ours, other, leads_astray) = (ours.clone(), other.clone(), leads_astray.clone());
        move |host: &str| {
            let is_astray = leads_astray.is_on() && host == format!("broker-{leader}");
            let cluster = if is_astray { &other } else { &ours };
            Some((cluster.clone(), host.to_owned()))
        }
    };
    let client = builder(&["broker-1", "broker-2", "broker-3"], env_relaying(route, untouched).build());
    let client = client.build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();

    leads_astray.turn(true);
    cut_connections(&ours, leader).await;
    let waiting = log.produce([record("two")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ours.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
    assert_eq!(waiting.await.unwrap().base_offset, 1);
    assert_eq!(asked_of(&other), [ApiKey::METADATA, ApiKey::API_VERSIONS]);
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn metadata_of_another_cluster_is_not_taken_in_from_an_open_connection_either() {
    let cluster = with_topic(by_name().brokers(3), 3).await;
    let lies = Switch::default();
    let meddle = {
        let lies = lies.clone();
        move |asked: &Asked, frame: Bytes| {
            if !lies.is_on() || asked.api != ApiKey::METADATA || asked.host == "broker-3" {
                return frame;
            }
            change(asked, &frame, |answer: &mut MetadataResponse| {
                answer.cluster_id = Some("somebody else".to_owned());
                answer.topics.clear();
            })
        }
    };
    let env = env_meddling(&cluster, meddle).build();
    let client = builder(&["broker-1", "broker-2", "broker-3"], env).build().await.unwrap();
    lies.turn(true);
    for _ in 0..5 {
        client.partition_client(TOPIC, 0).await.unwrap();
    }
    let asked = cluster.requests();
    let looks = asked.iter().filter(|request| request.api_key == ApiKey::METADATA && request.broker == 3);
    assert!(looks.count() >= 5, "only broker 3 tells the truth");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((cluster.open_connections(1).unwrap(), cluster.open_connections(2).unwrap()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_without_any_broker_of_its_cluster_says_so() {
    let (ours, other) = (with_topic(by_name().seed(1), 1).await, with_topic(by_name().seed(2), 1).await);
    let leads_astray = Switch::default();
    let route = {
        let (ours, other, leads_astray) = (ours.clone(), other.clone(), leads_astray.clone());
        move |host: &str| {
            let cluster = if leads_astray.is_on() { &other } else { &ours };
            Some((cluster.clone(), host.to_owned()))
        }
    };
    let client = builder(&["broker-1"], env_relaying(route, untouched).build()).build().await.unwrap();
    leads_astray.turn(true);
    cut_connections(&ours, 1).await;
    let error = failure(TIMEOUT, client.list_topics()).await;
    assert_eq!((error.kind(), error.is_timeout()), (&ErrorKind::NoReachableBroker, true));
    assert_says(&error, &["broker-1:9092", "another cluster"]);
}

#[tokio::test(start_paused = true)]
async fn swapped_addresses_are_noticed_before_anything_is_asked_there() {
    let cluster = with_topic(by_name().brokers(2), 2).await;
    let is_swapped = Switch::default();
    let route = {
        let (cluster, is_swapped) = (cluster.clone(), is_swapped.clone());
        move |host: &str| {
            let broker = match (is_swapped.is_on(), host) {
                (true, "broker-1") => "broker-2",
                (true, "broker-2") => "broker-1",
                (_, host) => host,
            };
            Some((cluster.clone(), broker.to_owned()))
        }
    };
    let meddle = {
        let is_swapped = is_swapped.clone();
        move |asked: &Asked, frame: Bytes| {
            let swapped = is_swapped.is_on();
            hosts(asked, frame, |id| format!("broker-{}", if swapped { 3 - id } else { id }))
        }
    };
    let env = env_relaying(route, meddle).build();
    let client = builder(&["broker-1", "broker-2"], env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();

    is_swapped.turn(true);
    for broker in [1, 2] {
        cut_connections(&cluster, broker).await;
    }
    cluster.clear_requests();
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    let of_leader = [ApiKey::PRODUCE, ApiKey::FETCH, ApiKey::LIST_OFFSETS];
    let astray = cluster
        .requests()
        .into_iter()
        .find(|request| request.broker != leader && of_leader.contains(&request.api_key));
    assert_eq!(astray, None);
}

#[tokio::test(start_paused = true)]
async fn when_all_addresses_have_changed_the_first_ones_are_asked_again() {
    let cluster = with_topic(by_name().brokers(3), 3).await;
    let has_moved = Switch::default();
    let route = {
        let (cluster, has_moved) = (cluster.clone(), has_moved.clone());
        move |host: &str| {
            let prefix = if has_moved.is_on() { "new-" } else { "old-" };
            let broker = match host {
                "bootstrap" => "2",
                host => host.strip_prefix(prefix)?,
            };
            Some((cluster.clone(), format!("broker-{broker}")))
        }
    };
    let meddle = {
        let has_moved = has_moved.clone();
        move |asked: &Asked, frame: Bytes| {
            let prefix = if has_moved.is_on() { "new" } else { "old" };
            hosts(asked, frame, |id| format!("{prefix}-{id}"))
        }
    };
    let client = builder(&["bootstrap"], env_relaying(route, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    has_moved.turn(true);
    for broker in 1..=3 {
        cut_connections(&cluster, broker).await;
    }
    let started = Instant::now();
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn an_advertised_host_that_cannot_be_reached_is_named() {
    let cluster = with_topic(by_name(), 1).await;
    let route = {
        let cluster = cluster.clone();
        move |host: &str| (host == "bootstrap").then(|| (cluster.clone(), "broker-1".to_owned()))
    };
    let meddle = |asked: &Asked, frame: Bytes| hosts(asked, frame, |_| "inside-only".to_owned());
    let client = builder(&["bootstrap"], env_relaying(route, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let error = failure(DELIVERY_TIMEOUT, log.produce([record("never")])).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true));
    assert_says(&error, &["Produce on topic wal partition 0 at broker 1 (inside-only:9092)", "refused"]);
    assert!(error.attempts() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_sends_the_client_back_to_the_start_is_obeyed() {
    // Only this version can say it.
    let cluster = with_topic(by_name().advertise(ApiKey::METADATA, 1..=13).brokers(3), 3).await;
    let route = {
        let cluster = cluster.clone();
        move |host: &str| {
            let broker = if host == "bootstrap" { "broker-2" } else { host };
            Some((cluster.clone(), broker.to_owned()))
        }
    };
    let is_required = Switch::default();
    let refused = Arc::new(AtomicUsize::new(0));
    let meddle = {
        let (is_required, refused) = (is_required.clone(), refused.clone());
        move |asked: &Asked, frame: Bytes| {
            if !is_required.is_on() || asked.api != ApiKey::METADATA || asked.host == "bootstrap" {
                return frame;
            }
            refused.fetch_add(1, Ordering::Relaxed);
            change(asked, &frame, |answer: &mut MetadataResponse| {
                *answer = MetadataResponse {
                    error_code: ErrorCode::REBOOTSTRAP_REQUIRED,
                    ..MetadataResponse::default()
                };
            })
        }
    };
    let client = builder(&["bootstrap"], env_relaying(route, meddle).build()).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("one")]).await.unwrap();
    is_required.turn(true);
    // The known brokers say so; the one at the first address knows where things are.
    client.partition_client(TOPIC, 0).await.unwrap();
    assert_eq!(refused.load(Ordering::Relaxed), 1, "once one has said so, no other known broker is asked");
    is_required.turn(false);
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    is_required.turn(true);
    // A data connection that is opened then hears it too; its call does not fail for that.
    cut_connections(&cluster, cluster.leader(TOPIC, 0).unwrap().unwrap()).await;
    let waiting = log.produce([record("three")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_required.turn(false);
    assert_eq!(waiting.await.unwrap().base_offset, 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_compares_itself_with_the_one_meant_is_not_asked_for_metadata() {
    for (newest, asks) in [(5, false), (4, true)] {
        let cluster = with_topic(by_name().advertise(ApiKey::API_VERSIONS, 0..=newest), 1).await;
        let client = builder(&["broker-1"], env_meddling(&cluster, untouched).build()).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
        log.produce([record("one")]).await.unwrap();
        cut_connections(&cluster, 1).await;
        cluster.clear_requests();
        assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
        let expected: &[_] = match asks {
            false => &[ApiKey::PRODUCE, ApiKey::API_VERSIONS],
            true => &[ApiKey::PRODUCE, ApiKey::METADATA, ApiKey::API_VERSIONS],
        };
        assert_eq!(asked_of(&cluster), expected, "ApiVersions up to {newest}");
        let versions = cluster.requests().into_iter().filter(|asked| asked.api_key == ApiKey::API_VERSIONS);
        // Where the broker has closed the connection on version 5, nothing above 3 is asked again.
        let closes = newest < 5 && profile() == Profile::EventHubs;
        let expected = if closes { 3 } else { newest };
        assert_eq!(versions.map(|asked| asked.api_version).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_not_the_one_meant_is_left_for_the_first_addresses_unless_metadata_tells_why() {
    for asked_without_identity_too in [false, true] {
        let cluster = with_topic(by_name().advertise(ApiKey::API_VERSIONS, 0..=5).brokers(3), 3).await;
        let route = {
            let cluster = cluster.clone();
            move |host: &str| {
                let broker = if host == "bootstrap" { "broker-2" } else { host };
                Some((cluster.clone(), broker.to_owned()))
            }
        };
        let (denies, at_the_start) = (Switch::default(), Arc::new(AtomicUsize::new(0)));
        let meddle = {
            let (denies, at_the_start) = (denies.clone(), at_the_start.clone());
            move |asked: &Asked, frame: Bytes| {
                if asked.host == "bootstrap" && asked.api == ApiKey::METADATA {
                    at_the_start.fetch_add(1, Ordering::Relaxed);
                }
                let request = asked.request::<ApiVersionsRequest>();
                let is_denied = request.is_some_and(|it| asked_without_identity_too || it.node_id >= 0);
                if !denies.is_on() || !is_denied || asked.host == "bootstrap" {
                    return frame;
                }
                change(asked, &frame, |answer: &mut ApiVersionsResponse| {
                    answer.error_code = ErrorCode::REBOOTSTRAP_REQUIRED;
                    answer.api_keys.clear();
                })
            }
        };
        let client = builder(&["bootstrap"], env_relaying(route, meddle).build()).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        log.produce([record("one")]).await.unwrap();
        denies.turn(true);
        cut_connections(&cluster, cluster.leader(TOPIC, 0).unwrap().unwrap()).await;
        let before = at_the_start.load(Ordering::Relaxed);
        let waiting = log.produce([record("two")]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(at_the_start.load(Ordering::Relaxed) > before);
        denies.turn(false);
        assert_eq!(waiting.await.unwrap().base_offset, 1);

        denies.turn(true);
        cut_connections(&cluster, cluster.leader(TOPIC, 0).unwrap().unwrap()).await;
        let error = failure(TIMEOUT, log.produce([record("never")])).await;
        assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
        assert_says(&error, &["Produce on topic wal", "REBOOTSTRAP_REQUIRED"]);
    }
}

#[tokio::test]
async fn a_name_with_two_addresses_works_while_one_is_dead() {
    let cluster = fake().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let port: u16 = cluster.bootstrap_servers()[0].rsplit_once(':').unwrap().1.parse().unwrap();
    let resolver = |host: String, port: u16| async move {
        let addresses: &[&str] = match host.as_str() {
            // Nobody listens at the first.
            "kafka.test" => &["127.0.0.2", "127.0.0.1"],
            _ => &["127.0.0.1"],
        };
        Ok(addresses
            .iter()
            .map(|address| (address.parse::<std::net::IpAddr>().unwrap(), port).into())
            .collect())
    };
    let env = Env::builder().resolver(resolver).build();
    let client = Client::builder(vec![format!("kafka.test:{port}")]).env(env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    assert_eq!(log.produce([record("one")]).await.unwrap().base_offset, 0);
}
