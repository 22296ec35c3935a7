//! What a client says in the log. In a process of its own: whether a span is wanted is remembered for all
//! threads.

use std::io;
use std::sync::{Arc, Mutex};

use rskafka::client::env::Env;
use rskafka::client::{Client, OffsetAt};
use rskafka::record::Record;
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

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

    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let record =
        Record { key: (), value: b"one".to_vec(), headers: (), timestamp: OffsetDateTime::now_utc() };
    log.produce([record]).await.unwrap();
    log.fetch_records(0, 1..1_000_000, 1).await.unwrap();
    log.get_offset(OffsetAt::Latest).await.unwrap();
    let text = written.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_a_span_with_api_topic_partition_and_broker_and_silent_at_info() {
    let text = logged(LevelFilter::DEBUG).await;
    for api in ["Produce", "Fetch", "ListOffsets"] {
        let span = format!("call{{api={api} topic=\"wal\" partition=0 broker=1}}");
        assert!(text.contains(&span), "{span} is missing in: {text}");
    }
    assert!(text.contains("call{api=\"Metadata\" topic=\"wal\" broker=broker-1:9092}"), "{text}");
    assert_eq!(logged(LevelFilter::INFO).await, "");
}
