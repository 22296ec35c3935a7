//! Each option of a client by its effect. All are set at once, each to a value that no other has: one that lands
//! in another's place is seen.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka::client::env::Env;
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Acks, Client, ClientBuilder, OffsetAt, PartitionClient};
use rskafka::protocol::records::Compression;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, FakeClusterBuilder, Fault};
use tokio::time::{Instant, sleep};

use super::common::{SLACK, record};
use super::kit::{TOPIC, failure, fake};

const CLIENT_ID: &str = "of-these-tests";
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_300);
const REQUEST_TIMEOUT: Duration = Duration::from_millis(3_100);
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(5_300);
const API_TIMEOUT: Duration = Duration::from_millis(7_100);
const BACKOFF: [Duration; 2] = [Duration::from_millis(130), Duration::from_millis(610)];
const RECONNECT_BACKOFF: [Duration; 2] = [Duration::from_millis(900), Duration::from_millis(1_700)];
const MAX_IDLE: Duration = Duration::from_secs(41);
const MAX_IN_FLIGHT_BYTES: usize = 1_000;
const BUFFER_MEMORY: usize = 3_000;
const MAX_FRAME_BYTES: usize = 50_000;
const MAX_DECOMPRESSED_BYTES: usize = 70_000;

fn with_all_options(builder: ClientBuilder) -> ClientBuilder {
    builder
        .client_id(CLIENT_ID)
        .connect_timeout(CONNECT_TIMEOUT)
        .request_timeout(REQUEST_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .api_timeout(API_TIMEOUT)
        .backoff(BACKOFF[0], BACKOFF[1])
        .reconnect_backoff(RECONNECT_BACKOFF[0], RECONNECT_BACKOFF[1])
        .connections_max_idle(MAX_IDLE)
        .share_produce_connections()
        .max_in_flight_bytes(MAX_IN_FLIGHT_BYTES)
        .buffer_memory(BUFFER_MEMORY)
        .max_frame_bytes(MAX_FRAME_BYTES)
        .max_decompressed_bytes(MAX_DECOMPRESSED_BYTES)
}

/// An attempt to connect.
#[derive(Debug, Clone, Copy)]
struct Dial {
    at: Instant,
    lasted: Duration,
}

/// Notes an attempt to connect when it is over, also when it is dropped.
struct Noting {
    at: Instant,
    dials: Arc<Mutex<Vec<Dial>>>,
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.dials.lock().unwrap().push(Dial { at: self.at, lasted: self.at.elapsed() });
    }
}

/// A cluster with a topic, and a client of it with all options.
struct Stage {
    cluster: FakeCluster,
    client: Client,
    log: PartitionClient,
    dials: Arc<Mutex<Vec<Dial>>>,
}

impl Stage {
    async fn new() -> Self {
        Self::on(fake()).await
    }

    async fn on(cluster: FakeClusterBuilder) -> Self {
        let cluster = cluster.in_memory().start().await.unwrap();
        let replicas = cluster.bootstrap_servers().len() as i16;
        cluster.create_topic(TOPIC, 1, replicas).unwrap();
        let dials = Arc::<Mutex<Vec<Dial>>>::default();
        let client = with_all_options(Client::builder(cluster.bootstrap_servers()));
        let client = client.env(noting(&cluster, &dials)).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        dials.lock().unwrap().clear();
        Self { cluster, client, log, dials }
    }

    /// A log that appends without idempotence.
    async fn plain(&self) -> PartitionClient {
        self.client.partition_client(TOPIC, 0).idempotence(false).await.unwrap()
    }

    fn dials(&self) -> Vec<Dial> {
        self.dials.lock().unwrap().clone()
    }

    /// When the requests of one kind arrived.
    fn arrivals(&self, api: ApiKey) -> Vec<Instant> {
        let requests = self.cluster.requests().into_iter();
        requests.filter(|request| request.api_key == api).map(|request| request.arrived).collect()
    }
}

fn noting(cluster: &FakeCluster, dials: &Arc<Mutex<Vec<Dial>>>) -> Env {
    let (cluster, dials) = (cluster.clone(), dials.clone());
    let connector = move |host: String, port: u16| {
        let (cluster, noting) = (cluster.clone(), Noting { at: Instant::now(), dials: dials.clone() });
        async move {
            let stream = cluster.connect(&host, port).await;
            drop(noting);
            stream
        }
    };
    Env::builder().connector(connector).random_seed(1).build()
}

/// Awaits a call that is to fail at this moment, not only by it.
async fn fails_after<T: std::fmt::Debug>(
    time: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Error {
    let started = Instant::now();
    let error = failure(time, call).await;
    assert!(started.elapsed() >= time, "{:?} instead of {time:?}: {error}", started.elapsed());
    error
}

/// Asserts that the gaps between moments double from the first to the longest, each spread by a fifth.
fn assert_spaced(moments: &[Instant], [initial, max]: [Duration; 2]) {
    let gaps: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 3, "{gaps:?}");
    for (doublings, gap) in gaps.iter().enumerate() {
        let pause = (initial * (1 << doublings.min(10))).min(max);
        let bounds = pause * 8 / 10..=pause * 12 / 10 + Duration::from_millis(2);
        assert!(bounds.contains(gap), "pause {doublings} of {gaps:?} is not in {bounds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_id_is_said_in_every_request() {
    let stage = Stage::new().await;
    stage.log.produce([record("one")]).await.unwrap();
    stage.log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    let requests = stage.cluster.requests();
    assert!(requests.iter().all(|request| request.client_id.as_deref() == Some(CLIENT_ID)), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn connect_timeout_bounds_one_attempt_to_connect() {
    let stage = Stage::new().await;
    stage.cluster.isolate_broker(1).unwrap();
    let error = failure(DELIVERY_TIMEOUT, stage.log.produce([record("never")])).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    let first = stage.dials()[0].lasted;
    assert!(first >= CONNECT_TIMEOUT && first <= CONNECT_TIMEOUT + SLACK, "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn request_timeout_bounds_one_attempt() {
    let stage = Stage::new().await;
    stage.cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let error = fails_after(REQUEST_TIMEOUT, stage.plain().await.produce([record("lost")])).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown));

    // A fetch is given its wait beside it.
    let wait = Duration::from_millis(700);
    stage.cluster.inject(Fault::swallow().on(ApiKey::FETCH));
    stage.log.fetch_records(0, 1..1_000_000, wait.as_millis() as i32).await.unwrap();
    let fetches = stage.arrivals(ApiKey::FETCH);
    let attempt = fetches[1] - fetches[0];
    let bounds = REQUEST_TIMEOUT + wait..=REQUEST_TIMEOUT + wait + BACKOFF[0] * 12 / 10 + SLACK;
    assert!(bounds.contains(&attempt), "{attempt:?}");
}

#[tokio::test(start_paused = true)]
async fn delivery_timeout_bounds_a_produce_with_its_wait_in_line() {
    let stage = Stage::new().await;
    stage.cluster.inject(Fault::swallow().on(ApiKey::PRODUCE).always());
    let log = stage.plain().await;
    let (first, second) = (log.produce([record("one")]), log.produce([record("two")]));
    let started = Instant::now();
    fails_after(REQUEST_TIMEOUT, first).await;
    let error = fails_after(DELIVERY_TIMEOUT - started.elapsed(), second).await;
    assert!(error.is_timeout(), "{error:?}");

    // What may be sent again is tried until then.
    let started = Instant::now();
    let calls = ["one", "two"].map(|value| stage.log.produce([record(value)]));
    for (call, outcome) in calls.into_iter().zip([Outcome::Unknown, Outcome::NotWritten]) {
        let error = fails_after(DELIVERY_TIMEOUT - started.elapsed(), call).await;
        assert_eq!((error.outcome(), error.is_timeout()), (outcome, true), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn api_timeout_bounds_every_other_call() {
    let stage = Stage::new().await;
    stage.cluster.inject(Fault::swallow().on(ApiKey::LIST_OFFSETS).always());
    fails_after(API_TIMEOUT, stage.log.get_offset(OffsetAt::Latest)).await;
    let wait = Duration::from_secs(2);
    stage.cluster.inject(Fault::swallow().on(ApiKey::FETCH).always());
    fails_after(API_TIMEOUT + wait, stage.log.fetch_records(0, 1..10, wait.as_millis() as i32)).await;

    for api in [ApiKey::CREATE_TOPICS, ApiKey::DELETE_TOPICS, ApiKey::METADATA] {
        stage.cluster.inject(Fault::swallow().on(api).always());
    }
    // They may end by as much earlier as the pause would take before another attempt.
    let least = API_TIMEOUT - BACKOFF[1] * 12 / 10;
    let client = &stage.client;
    for call in 0..4 {
        let started = Instant::now();
        let error = match call {
            0 => failure(API_TIMEOUT, async { client.create_topic("second", 1, 1).await }).await,
            1 => failure(API_TIMEOUT, client.delete_topic(TOPIC)).await,
            2 => failure(API_TIMEOUT, client.list_topics()).await,
            _ => failure(API_TIMEOUT, async { client.partition_client(TOPIC, 0).await }).await,
        };
        assert!(started.elapsed() >= least, "call {call} after {:?}: {error:?}", started.elapsed());
        assert!(error.is_timeout(), "call {call}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn api_timeout_bounds_building_the_client() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.isolate_broker(1).unwrap();
    let client = with_all_options(Client::builder(cluster.bootstrap_servers()));
    let started = Instant::now();
    failure(API_TIMEOUT, client.env(noting(&cluster, &Arc::default())).build()).await;
    let least = API_TIMEOUT - RECONNECT_BACKOFF[1] * 12 / 10;
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn backoff_is_the_pause_between_attempts() {
    let stage = Stage::new().await;
    for (api, code) in
        [(ApiKey::PRODUCE, ErrorCode::NOT_ENOUGH_REPLICAS), (ApiKey::FETCH, ErrorCode::OFFSET_NOT_AVAILABLE)]
    {
        stage.cluster.inject(Fault::answer(code).on(api).always());
    }
    stage.log.produce([record("never")]).await.unwrap_err();
    assert_spaced(&stage.arrivals(ApiKey::PRODUCE), BACKOFF);
    stage.log.fetch_records(0, 1..10, 1).await.unwrap_err();
    assert_spaced(&stage.arrivals(ApiKey::FETCH), BACKOFF);
}

#[tokio::test(start_paused = true)]
async fn reconnect_backoff_is_the_pause_before_an_address_is_tried_again() {
    let stage = Stage::new().await;
    stage.cluster.stop_broker(1).await.unwrap();
    failure(DELIVERY_TIMEOUT, stage.log.produce([record("never")])).await;
    let dials: Vec<_> = stage.dials().iter().map(|dial| dial.at).collect();
    assert_spaced(&dials, RECONNECT_BACKOFF);
}

#[tokio::test(start_paused = true)]
async fn connections_max_idle_is_how_long_an_unused_connection_stays() {
    let stage = Stage::new().await;
    stage.log.produce([record("one")]).await.unwrap();
    stage.log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    sleep(MAX_IDLE - SLACK).await;
    // For metadata, for appends, for producer ids, for fetches.
    assert_eq!(stage.cluster.open_connections(1).unwrap(), 4);
    sleep(2 * SLACK).await;
    assert_eq!(stage.cluster.open_connections(1).unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn share_produce_connections_has_all_appends_to_a_broker_go_over_one() {
    let stage = Stage::new().await;
    let other = stage.client.partition_client(TOPIC, 0).await.unwrap();
    stage.log.produce([record("one")]).await.unwrap();
    other.produce([record("two")]).await.unwrap();
    let connections = |api| -> BTreeSet<u64> {
        let requests = stage.cluster.requests().into_iter();
        requests.filter(|request| request.api_key == api).map(|request| request.connection).collect()
    };
    assert_eq!(connections(ApiKey::PRODUCE).len(), 1);
    for log in [&stage.log, &other] {
        log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    }
    assert_eq!(connections(ApiKey::FETCH).len(), 2, "it goes for appends only");
}

#[tokio::test(start_paused = true)]
async fn max_in_flight_bytes_bounds_what_is_on_one_connection() {
    for (size, fits) in [(200, true), (600, false)] {
        let stage = Stage::new().await;
        let other = stage.client.partition_client(TOPIC, 0).await.unwrap();
        stage.cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE).times(2));
        let value = "x".repeat(size);
        let calls = [stage.log.produce([record(value.clone())]), other.produce([record(value)])];
        for call in calls {
            call.await.unwrap();
        }
        let mut requests = stage.cluster.requests();
        requests.retain(|request| request.api_key == ApiKey::PRODUCE);
        let [first, second] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!(second.arrived < first.answered.unwrap(), fits, "two of {size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn buffer_memory_bounds_what_has_a_place_in_line() {
    let stage = Stage::new().await;
    // Two fit; the third waits for a place, and is not written when it is dropped before.
    let calls: Vec<_> = (0..3).map(|_| stage.log.produce([record("x".repeat(1_200))])).collect();
    drop(calls);
    assert_eq!(stage.log.produce([record("after")]).await.unwrap().base_offset, 2);
}

#[tokio::test(start_paused = true)]
async fn max_frame_bytes_bounds_an_answer() {
    let stage = Stage::new().await;
    for size in [40_000, 60_000] {
        stage.log.produce([record("x".repeat(size))]).await.unwrap();
    }
    let (records, _) = stage.log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(records.len(), 1);
    let error = stage.log.fetch_records(1, 1..1_000_000, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidAnswer, "{error:?}");
    assert!(format!("{error:?}").contains("larger than the limit of 50000"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn max_decompressed_bytes_bounds_a_batch() {
    let stage = Stage::new().await;
    let log = stage.client.partition_client(TOPIC, 0).compression(Compression::Gzip).await.unwrap();
    log.produce([record("x".repeat(60_000))]).await.unwrap();
    let large = record("x".repeat(80_000));
    let error = log.produce([large.clone()]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BatchTooLarge { size: 80_000.., limit: 70_000 }), "{error:?}");
    let client = super::kit::builder(&stage.cluster).build().await.unwrap();
    let unlimited = client.partition_client(TOPIC, 0).compression(Compression::Gzip).await.unwrap();
    unlimited.produce([large]).await.unwrap();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    assert_eq!(records.len(), 1);
    let error = log.fetch_records(1, 1..1_000_000, 1).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(1) }, "{error:?}");
    assert!(format!("{error:?}").contains("more than 70000 bytes"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn acks_is_who_must_hold_an_append() {
    let stage = Stage::on(fake().brokers(2)).await;
    let leader = stage.cluster.leader(TOPIC, 0).unwrap().unwrap();
    stage.cluster.hold_replica(TOPIC, 0, 3 - leader).unwrap();
    let client = || stage.client.partition_client(TOPIC, 0).idempotence(false);
    let of_leader = client().acks(Acks::Leader).await.unwrap();
    let of_all = client().acks(Acks::All).await.unwrap();
    let started = Instant::now();
    of_leader.produce([record("at the leader")]).await.unwrap();
    assert!(started.elapsed() < SLACK, "{:?}", started.elapsed());
    for waits in [of_all, stage.plain().await] {
        let error = fails_after(REQUEST_TIMEOUT, waits.produce([record("at all replicas")])).await;
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    }
}
