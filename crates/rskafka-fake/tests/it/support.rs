//! A client that knows frames and nothing else, and clusters for it.
//!
//! A cluster behaves like the broker that `RSKAFKA_FAKE_PROFILE` names; `cargo xtask test` runs all tests with each.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::redpanda;
use bytes::{Bytes, BytesMut};
use rskafka_fake::{FakeCluster, FakeClusterBuilder, Profile};
use rskafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use rskafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder, batches};
use rskafka_protocol::{ApiKey, ErrorCode, Request, Uuid, decode_response, encode_request, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The wall clock of test clusters at their start, in ms.
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

/// The broker that clusters behave like.
pub(crate) fn profile() -> Profile {
    std::env::var("RSKAFKA_FAKE_PROFILE").map_or(Profile::default(), |name| name.parse().unwrap())
}

/// The answer to an append with acks=all while too few replicas are in sync, and whether it is written anyway.
pub(crate) fn too_few_in_sync() -> (ErrorCode, bool) {
    match profile() {
        Profile::Redpanda => (ErrorCode::REQUEST_TIMED_OUT, true),
        _ => (ErrorCode::NOT_ENOUGH_REPLICAS, false),
    }
}

/// The settings of clusters that do not need one particular profile.
pub(crate) fn fake() -> FakeClusterBuilder {
    FakeCluster::builder().profile(profile())
}

/// Ends a test that needs a version of an API which the profile does not have.
macro_rules! needs {
    ($request:ty, $version:expr, $why:expr) => {
        if !$crate::support::speaks::<$request>($version).await {
            return $crate::support::skipped($why);
        }
        $crate::support::applies();
    };
}
pub(crate) use needs;

/// Prints that the present test was skipped, past libtest's capture: `cargo xtask test` counts these lines.
/// Under Redpanda, the table in `redpanda.rs` must list the test.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    // With one thread for all tests, it has no test's name.
    let name = thread.name().unwrap_or_default();
    let why = match profile() {
        Profile::Redpanda if name.contains("::") => {
            redpanda::why_not(name).unwrap_or_else(|| panic!("{name} is not in the table of redpanda.rs"))
        }
        _ => why,
    };
    let line = format!("\nskipped under {}: {name}: {why}\n", profile());
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
}

/// Checks that the table does not exclude a test that Redpanda could run.
pub(crate) fn applies() {
    let thread = std::thread::current();
    let why = thread.name().and_then(redpanda::why_not).filter(|_| profile() == Profile::Redpanda);
    assert_eq!(why, None, "it applies to Redpanda after all");
}

/// Whether the profile's brokers have this version of an API.
pub(crate) async fn speaks<R: Request>(version: i16) -> bool {
    let advertised = fake().in_memory().start().await.unwrap().advertised();
    advertised.iter().any(|(api_key, versions)| *api_key == R::API_KEY && versions.contains(&version))
}

pub(crate) async fn cluster(brokers: usize) -> FakeCluster {
    let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(WALL_MS as u64);
    fake().brokers(brokers).in_memory().wall_clock(wall).start().await.unwrap()
}

pub(crate) struct RawClient {
    /// The newest versions that are spoken: none newer is asked in.
    newest: Vec<(ApiKey, i16)>,
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    next_correlation_id: i32,
    /// Stands behind the last field of every request.
    pub(crate) surplus: &'static [u8],
}

impl RawClient {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            newest: Vec::new(),
            stream: Box::new(stream),
            buffer: BytesMut::new(),
            next_correlation_id: 100,
            surplus: &[],
        }
    }

    /// Through a pipe to a broker of an in-memory cluster.
    pub(crate) async fn pipe(cluster: &FakeCluster, broker: i32) -> Self {
        Self::over(cluster.connect(&format!("broker-{broker}"), 9092).await.unwrap()).of(cluster)
    }

    /// Has requests and answers be of no newer version than the cluster speaks, whichever is asked for.
    pub(crate) fn of(self, cluster: &FakeCluster) -> Self {
        let advertised = cluster.advertised().into_iter();
        let newest = advertised.map(|(api_key, versions)| (api_key, *versions.end())).collect();
        Self { newest, ..self }
    }

    /// Through a pipe, and in whatever version is asked for.
    pub(crate) async fn unbound(cluster: &FakeCluster, broker: i32) -> Self {
        Self { newest: Vec::new(), ..Self::pipe(cluster, broker).await }
    }

    /// The version in which a request of this version is made.
    pub(crate) fn spoken<R: Request>(&self, version: i16) -> i16 {
        let newest = self.newest.iter().find(|(api_key, _)| *api_key == R::API_KEY);
        newest.map_or(version, |(_, newest)| version.min(*newest))
    }

    /// Over TCP to an address.
    pub(crate) async fn tcp(address: &str) -> Self {
        Self::over(tokio::net::TcpStream::connect(address).await.unwrap())
    }

    /// Those of these versions that are spoken.
    pub(crate) fn versions<R: Request>(&self, versions: RangeInclusive<i16>) -> RangeInclusive<i16> {
        *versions.start()..=self.spoken::<R>(*versions.end())
    }

    /// Sends a request; gives its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let frame = encode_request(request, self.spoken::<R>(version), id, Some("raw")).unwrap();
        self.send_bytes(&lengthened(&frame.to_bytes(), self.surplus)).await;
        id
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, without its length; `None` if the connection ended.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = frame::take_frame(&mut self.buffer, 200 << 20).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let frame = self.frame().await.expect("the connection ended");
        let (header, response) = decode_response::<R::Response>(self.spoken::<R>(version), &frame).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        response
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.send(version, request).await;
        self.receive::<R>(version, id).await
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }
}

/// A frame with bytes behind its last field.
pub(crate) fn lengthened(frame: &[u8], surplus: &[u8]) -> Vec<u8> {
    let mut frame = [frame, surplus].concat();
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// A topic as requests name it: by name, and by id where the version has ids.
#[derive(Clone)]
pub(crate) struct TopicName {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

pub(crate) fn topic(cluster: &FakeCluster, name: &str) -> TopicName {
    TopicName { name: name.to_owned(), id: cluster.topic_id(name).unwrap_or_default() }
}

pub(crate) fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Bytes {
    timed_batch(values.into_iter().map(|value| (WALL_MS, value)))
}

pub(crate) fn timed_batch<V: AsRef<[u8]>>(records: impl IntoIterator<Item = (i64, V)>) -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    for (timestamp, value) in records {
        builder.push(NewRecord::new(timestamp, Some(b"key"), Some(value.as_ref()))).unwrap();
    }
    builder.build().unwrap().into_bytes()
}

pub(crate) fn produce_request(
    topic: &TopicName,
    partition: i32,
    acks: i16,
    records: Option<Bytes>,
) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records };
    let topic = TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![data] };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

pub(crate) fn only<T: Debug>(mut list: Vec<T>) -> T {
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

pub(crate) fn produced(response: ProduceResponse) -> PartitionProduceResponse {
    only(only(response.responses).partition_responses)
}

/// Appends a batch with acks=all in the newest version that names topics.
pub(crate) async fn produce(
    client: &mut RawClient,
    topic: &TopicName,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    produced(client.call(12, &produce_request(topic, partition, -1, Some(records))).await)
}

pub(crate) fn fetch_request(topic: &TopicName, partition: i32, fetch_offset: i64) -> FetchRequest {
    let asked =
        FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions: vec![asked] };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}

pub(crate) fn fetched(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, ErrorCode::NONE);
    only(only(response.responses).partitions)
}

pub(crate) async fn fetch(
    client: &mut RawClient,
    topic: &TopicName,
    partition: i32,
    offset: i64,
) -> PartitionData {
    fetched(client.call(12, &fetch_request(topic, partition, offset)).await)
}

/// The records of an answer: offset and value.
pub(crate) fn records(data: &PartitionData) -> Vec<(i64, Bytes)> {
    let mut records = Vec::new();
    for batch in batches(data.records.as_ref().unwrap()) {
        let batch = batch.unwrap();
        for record in batch.records() {
            let record = record.unwrap();
            records.push((record.offset, batch.slice(record.value.unwrap())));
        }
    }
    records
}
