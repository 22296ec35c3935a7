//! What a client says in the log. In a process of its own: whether a span is wanted is remembered for all
//! threads.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka::client::env::Env;
use rskafka::client::error::ErrorKind;
use rskafka::client::{Client, ClientBuilder, OffsetAt, Sasl, Tls};
use rskafka::fake::FakeClusterExt;
use rskafka::protocol::ApiKey;
use rskafka::record::Record;
use rskafka::wal::Position;
use rskafka_fake::{FakeCluster, FakeSasl, Fault, SaslMechanism};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Held by the test that runs. What one test subscribes to while another one's thread comes to the same event for the first time is
/// missed now and then: `tracing` keeps one memory for all threads.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Where a log goes that a test reads.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Appends, reads and looks for offsets while everything up to `level` is logged.
async fn logged(level: LevelFilter) -> String {
    let cluster = FakeCluster::builder().in_memory().start().await.unwrap();
    cluster.create_topic("wal", 1, 1).unwrap();
    let dialed = cluster.clone();
    let connector = move |host: String, port: u16| {
        let cluster = dialed.clone();
        async move { cluster.connect(&host, port).await }
    };
    let env = Env::builder().connector(connector).build();
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let log = client.partition_client("wal", 0).await.unwrap();

    let (written, _default) = subscribe(level);
    let record =
        Record { key: (), value: b"one".to_vec(), headers: (), timestamp: OffsetDateTime::now_utc() };
    log.produce([record]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    written.text()
}

/// Keeps what this thread logs up to `level`, until the guard is dropped.
fn subscribe(level: LevelFilter) -> (Written, DefaultGuard) {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (written, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_a_span_with_api_topic_partition_and_broker_and_silent_at_info() {
    let _alone = ALONE.lock().await;
    let text = logged(LevelFilter::DEBUG).await;
    for api in ["Produce", "Fetch", "ListOffsets"] {
        let span = format!("call{{api={api} topic=\"wal\" partition=0 broker=1}}");
        assert!(text.contains(&span), "{span} is missing in: {text}");
    }
    assert!(text.contains("call{api=\"Metadata\" topic=\"wal\" broker=broker-1:9092}"), "{text}");
    assert_eq!(logged(LevelFilter::INFO).await, "");
}

/// The warnings of a client that cannot be built.
async fn warned(builder: ClientBuilder) -> Vec<String> {
    let (written, _default) = subscribe(LevelFilter::WARN);
    let error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoReachableBroker);
    written.text().lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn while_no_broker_can_be_reached_each_address_is_warned_of_at_once_and_every_ten_seconds() {
    let _alone = ALONE.lock().await;
    let connector = |_, _| async { Err::<tokio::io::DuplexStream, _>(io::Error::other("the cable is cut")) };
    let env = Env::builder().connector(connector).build();
    let brokers = ["one:9092", "two:9092"].map(str::to_owned).to_vec();
    let lines = warned(Client::builder(brokers).env(env).api_timeout(Duration::from_secs(60))).await;
    for broker in ["broker=one:9092", "broker=two:9092"] {
        let warnings: Vec<_> = lines.iter().filter(|line| line.contains(broker)).collect();
        // At 0 s, 10 s, …; the pauses between attempts move them a little.
        assert!((5..=6).contains(&warnings.len()), "{lines:#?}");
        let expected = ["WARN", "cannot connect", "the connector failed", "the cable is cut"];
        assert!(warnings.iter().all(|line| expected.iter().all(|part| line.contains(part))), "{lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_goes_away_is_warned_of() {
    let _alone = ALONE.lock().await;
    let cluster = FakeCluster::builder().brokers(1).in_memory().start().await.unwrap();
    cluster.create_topic("wal", 1, 1).unwrap();
    let dialed = cluster.clone();
    let connector = move |host: String, port: u16| {
        let cluster = dialed.clone();
        async move { cluster.connect(&host, port).await }
    };
    let env = Env::builder().connector(connector).build();
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    let log = client.partition_client("wal", 0).await.unwrap();
    let (written, _default) = subscribe(LevelFilter::WARN);
    cluster.stop_broker(1).await.unwrap();
    let reading = tokio::spawn(async move { log.fetch(0).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let text = written.text();
    assert_eq!(text.matches("cannot connect broker=broker-1:9092 failure=").count(), 1, "{text}");
    cluster.start_broker(1).await.unwrap();
    reading.await.unwrap().unwrap();
    assert_eq!(written.text(), text);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_replaced_is_warned_of_while_it_still_serves() {
    let _alone = ALONE.lock().await;
    let started = Instant::now();
    let sasl = FakeSasl::new([SaslMechanism::Plain])
        .user("user", "secret")
        .session_lifetime(Duration::from_secs(60));
    let cluster = FakeCluster::builder().brokers(1).in_memory().sasl(sasl).start().await.unwrap();
    cluster.create_topic("wal", 1, 1).unwrap();
    let refuses = Arc::new(AtomicBool::new(false));
    let (dialed, is_refused) = (cluster.clone(), refuses.clone());
    let connector = move |host: String, port: u16| {
        let (cluster, is_refused) = (dialed.clone(), is_refused.clone());
        async move {
            match is_refused.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::ConnectionRefused.into()),
                false => cluster.connect(&host, port).await,
            }
        }
    };
    let env = Env::builder().connector(connector).build();
    let builder = Client::builder(cluster.bootstrap_servers()).env(env);
    let client = builder.sasl(Sasl::plain("user", "secret")).build().await.unwrap();
    let log = client.partition_client("wal", 0).await.unwrap();
    let (written, _default) = subscribe(LevelFilter::WARN);
    let appending = async |until: u64| {
        while started.elapsed() < Duration::from_secs(until) {
            log.produce([Record::new((), "appended", OffsetDateTime::now_utc())]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        written.text()
    };
    assert_eq!(appending(46).await, "", "no replacement is due before 48 s");
    refuses.store(true, Ordering::Relaxed);
    let text = appending(54).await;
    // The replacement is dialled again after each pause, but 10 s have not passed.
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["WARN", "cannot connect broker=broker-1:9092", "connection refused"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(appending(70).await, text);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_does_not_know_a_brokers_settings_warns() {
    let _alone = ALONE.lock().await;
    let cluster = FakeCluster::builder().brokers(3).in_memory().start().await.unwrap();
    let env = cluster.env_builder().build();
    let client = Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap();
    client.create_topic("wal", 1, 3).for_log().await.unwrap();
    let wal = client.wal("wal", 0).await.unwrap();
    let (written, _default) = subscribe(LevelFilter::WARN);
    drop(wal.claim(Position::START, "knows all").await.unwrap());
    assert_eq!(written.text(), "");
    cluster.inject(Fault::swallow().on(ApiKey::DESCRIBE_CONFIGS).at_broker(2).always());
    let wal = client.wal("wal", 0).await.unwrap();
    drop(wal.claim(Position::START, "knows two").await.unwrap());
    let text = written.text();
    for part in ["WARN", "claiming without a broker's settings", "topic=wal partition=0", "at brokers [2]"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

/// A broker in memory, and a client that knows it.
async fn connected() -> (FakeCluster, Client) {
    let cluster = FakeCluster::builder().brokers(1).in_memory().start().await.unwrap();
    cluster.create_topic("wal", 1, 1).unwrap();
    let env = cluster.env_builder().build();
    (cluster.clone(), Client::builder(cluster.bootstrap_servers()).env(env).build().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_address_that_hangs_is_warned_of_though_each_call_is_given_up_before() {
    let _alone = ALONE.lock().await;
    let (cluster, client) = connected().await;
    let log = client.partition_client("wal", 0).await.unwrap();
    let (written, _default) = subscribe(LevelFilter::WARN);
    cluster.isolate_broker(1).unwrap();
    for _ in 0..40 {
        tokio::time::timeout(Duration::from_millis(500), log.fetch(0).into_future()).await.unwrap_err();
    }
    let text = written.text();
    assert_eq!(text.matches("cannot connect broker=broker-1:9092 failure=").count(), 1, "{text}");
    assert!(text.contains("timed out after 10s"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_time_to_connect_warns_of_no_healthy_broker_and_hides_no_later_cause() {
    let _alone = ALONE.lock().await;
    let cluster = FakeCluster::builder().brokers(1).in_memory().start().await.unwrap();
    cluster.inject(Fault::delay(Duration::from_millis(500)).on(ApiKey::API_VERSIONS).always());
    let env = cluster.env_builder().build();
    let builder = Client::builder(cluster.bootstrap_servers()).env(env);
    let (written, _default) = subscribe(LevelFilter::WARN);
    let client = builder.api_timeout(Duration::from_secs(1)).build().await.unwrap();
    cluster.clear_faults();
    cluster.inject(Fault::delay(Duration::from_millis(1500)).on(ApiKey::API_VERSIONS).always());
    cluster.cut_connections(1).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    client.list_topics().await.unwrap_err();
    assert_eq!(written.text(), "");
    cluster.stop_broker(1).await.unwrap();
    client.list_topics().await.unwrap_err();
    let text = written.text();
    assert_eq!(text.matches("cannot connect broker=broker-1:9092 failure=").count(), 1, "{text}");
}

#[tokio::test]
async fn tls_to_a_plaintext_port_and_an_unknown_host_are_warned_of() {
    let _alone = ALONE.lock().await;
    let cluster = FakeCluster::builder().start().await.unwrap();
    let (brokers, patience) = (cluster.bootstrap_servers(), Duration::from_millis(500));
    let tls = Client::builder(brokers.clone()).tls(Tls::webpki_roots()).api_timeout(patience);
    let lines = warned(tls).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expected = [brokers[0].as_str(), "check that the port expects TLS"];
    assert!(expected.iter().all(|part| lines[0].contains(part)), "{lines:#?}");

    let unknown = Client::builder(vec!["no-such-host.invalid:9092".to_owned()]).api_timeout(patience);
    let lines = warned(unknown).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expected = ["no-such-host.invalid:9092", "the name cannot be resolved"];
    assert!(expected.iter().all(|part| lines[0].contains(part)), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_never_answer_are_warned_of() {
    let _alone = ALONE.lock().await;
    let connector = |_, _| std::future::pending::<io::Result<tokio::io::DuplexStream>>();
    let env = Env::builder().connector(connector).build();
    let builder = Client::builder(["one:9092", "two:9092"]).env(env).api_timeout(Duration::from_secs(60));
    let lines = warned(builder).await;
    for broker in ["one:9092", "two:9092"] {
        let warnings = lines.iter().filter(|line| line.contains(&format!("broker={broker} failure=")));
        let warnings: Vec<_> = warnings.collect();
        assert!((3..=6).contains(&warnings.len()), "{lines:#?}");
        assert!(warnings.iter().all(|line| line.contains("while connecting")), "{lines:#?}");
    }
}
