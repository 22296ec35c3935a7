//! Each public type is `Send`, `Sync` and `Debug`, so that users may keep it where they want and print it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use rskafka::bytes::Bytes;
use rskafka::client::*;
use rskafka::record::Headers;
use rskafka::{record, wal};

type Payload = Option<Bytes>;
type Aggregator = producer::RecordAggregator<Payload, Payload, Headers>;

/// Has the compiler check each type, and gives their paths.
macro_rules! shareable {
    ($($type:ty,)*) => {{
        fn is_shareable<T: Send + Sync + Debug>() {}
        $(is_shareable::<$type>();)*
        [$(stringify!($type)),*]
    }};
}

/// The path of a type without its parameters, as in `docs/public-api`.
fn plain(path: &str) -> &str {
    path.split(['<', '(', ' ']).next().unwrap()
}

#[test]
fn each_public_type_can_be_sent_shared_and_printed() {
    let checked = shareable!(
        Acks,
        Client,
        ClientBuilder,
        ClientCertificate,
        Compression,
        ConfigEntry,
        CreateTopic,
        Credentials,
        DurabilityFinding,
        DurabilityKind,
        Endpoint,
        Fetch,
        Fetched,
        FoundOffset,
        OauthToken,
        OffsetAt,
        ParseEndpointError,
        Partition,
        PartitionClient,
        PartitionClientBuilder,
        Produce,
        Produced,
        Sasl,
        Severity,
        Socks5,
        Tls,
        TlsConfigError,
        Topic,
        consumer::BatchStream,
        consumer::FetchedBatch,
        consumer::IntoRecords,
        consumer::IsolationLevel,
        consumer::OutOfRange,
        consumer::ParsePositionError,
        consumer::Position,
        consumer::Ranges,
        consumer::ReadBuilder<consumer::StartAt>,
        consumer::RecordStream,
        consumer::Replay,
        consumer::ReplayProgress,
        consumer::Resolution,
        consumer::StartAt,
        env::Env,
        env::EnvBuilder,
        error::Error,
        error::ErrorClass,
        error::ErrorKind,
        error::Outcome,
        producer::BatchProducer<Aggregator>,
        producer::BatchProducerBuilder,
        producer::Batched<Aggregator>,
        producer::Pushed<Bytes, u64>,
        producer::RecordAggregator<Payload, Payload, Headers>,
        producer::Unfinished,
        producer::UnfinishedBatch,
        record::Headers,
        record::Record,
        record::RecordAndOffset,
        stats::BrokerStats,
        stats::Latency,
        stats::Stats,
        stats::StatsOfBroker,
        wal::Append,
        wal::Appended,
        wal::Claim,
        wal::Dead,
        wal::Entry,
        wal::Item,
        wal::Items,
        wal::Kind,
        wal::ParsePositionError,
        wal::Passed,
        wal::Position,
        wal::Reader,
        wal::Reclaimed,
        wal::Recovery,
        wal::RecoveryProgress,
        wal::Stamp,
        wal::Start,
        wal::Wal,
        wal::Writer,
    );
    let checked: BTreeSet<&str> = checked.iter().map(|path| plain(path)).collect();

    let listing = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/public-api").join(file);
        std::fs::read_to_string(path).unwrap()
    };
    let client = listing("rskafka-client.txt");
    let of_client = client.lines().filter_map(|line| {
        let line = line.trim_start_matches("#[non_exhaustive] ");
        line.strip_prefix("pub struct rskafka_client::")
            .or_else(|| line.strip_prefix("pub enum rskafka_client::"))
    });
    let facade = listing("rskafka.txt");
    let of_facade = facade.lines().filter_map(|line| line.strip_prefix("pub use rskafka::client::"));
    // Traits and aliases.
    let others =
        ["Provider", "env::BoxFuture", "env::BoxStream", "env::Connector", "env::Resolver", "env::Stream"];
    let is_type = |path: &&str| {
        let name = path.rsplit("::").next().unwrap();
        name.starts_with(char::is_uppercase) && !others.contains(path)
    };
    for path in of_client.chain(of_facade).map(plain).filter(is_type) {
        assert!(checked.contains(path), "{path} is not checked");
    }
}

#[test]
fn each_public_type_of_the_fake_cluster_can_be_sent_shared_and_printed() {
    let checked = shareable!(
        rskafka_fake::ByteFault,
        rskafka_fake::ControlError,
        rskafka_fake::FakeCluster,
        rskafka_fake::FakeClusterBuilder,
        rskafka_fake::FakeIdentity,
        rskafka_fake::FakeSasl,
        rskafka_fake::FakeTls,
        rskafka_fake::FakeToken,
        rskafka_fake::Fault,
        rskafka_fake::FaultId,
        rskafka_fake::Profile,
        rskafka_fake::ReceivedRequest,
        rskafka_fake::SaslMechanism,
        rskafka_fake::StoredLog,
        rskafka_fake::StoredRecord,
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/public-api/rskafka-fake.txt");
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line = line.trim_start_matches("#[non_exhaustive] ");
        let path = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        // A function that is called once has nobody to share it with.
        let is_checked = |path| checked.contains(&plain(path)) || path == "rskafka_fake::Rewritten";
        assert!(path.is_none_or(is_checked), "{line} is not checked");
    }
}
