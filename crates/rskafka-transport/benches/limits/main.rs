//! What a connection may cost beside a raw client that sends and receives the same bytes, measured for
//! `cargo xtask bench`.
//!
//! Invariant: both sides exchange the same bytes with peers of the same kind, over loopback, in the same run.

#[path = "../../../rskafka-protocol/benches/limits/harness.rs"]
mod harness;
mod peer;
mod raw;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use rskafka_protocol::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use rskafka_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use rskafka_protocol::{Frame, Request, encode_request, encode_response};
use rskafka_transport::{CallOptions, Connection, ConnectionConfig, Deadline, Env};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::harness::{Check, Clock, Limit, run};
use crate::peer::Peer;
use crate::raw::RawClient;

/// Far longer than anything here takes.
const NO_HURRY: Duration = Duration::from_secs(3600);

/// How many connections each side takes in turn.
const CONNECTIONS: usize = 8;

fn main() {
    // Where the scheduler puts the peers, and how long another processor takes to wake, would be measured
    // otherwise.
    let mut one_processor = CpuSet::new();
    one_processor.set(0).expect("there is a first processor");
    sched_setaffinity(Pid::this(), &one_processor).expect("a process may stay on one processor");

    let one_thread = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    let two_threads =
        || Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let beyond = Limit::PerRecord(1.0, 15_000.0);
    run(
        vec![
            check(
                "latency-100B",
                "a request and an answer of 100 B, p50",
                Clock::P50,
                beyond,
                one_thread(),
                small(),
            ),
            check(
                "latency-100B-2-threads",
                "a request and an answer of 100 B, p50, on a runtime of two threads",
                Clock::P50,
                beyond,
                two_threads(),
                small(),
            ),
            check(
                "request-1MiB",
                "CPU of a request of 1 MiB",
                Clock::CpuAndKernel,
                Limit::Times(1.3),
                one_thread(),
                large_request(),
            ),
            check(
                "answer-1MiB",
                "CPU of an answer of 1 MiB",
                Clock::CpuAndKernel,
                Limit::Times(1.3),
                one_thread(),
                large_answer(),
            ),
        ],
        Vec::new(),
    );
}

/// A request and its answer.
struct Exchange<R: Request> {
    request: R,
    response: R::Response,
}

fn check<R: Request + 'static>(
    name: &'static str,
    what: &'static str,
    clock: Clock,
    limit: Limit,
    runtime: Runtime,
    exchange: Exchange<R>,
) -> Check {
    let Exchange { request, response } = exchange;
    let version = R::VERSIONS.max;
    let answer = bytes_of(encode_response(&response, version, 0));
    let sent = bytes_of(encode_request(&request, version, 0, Some("rskafka")));
    let bytes = sent.len() + answer.len();

    // Each socket has buffers that grow by what the kernel has seen of it: several even that out.
    let peers: Vec<_> = (0..2 * CONNECTIONS).map(|_| Peer::start(answer.clone())).collect();
    let (ours, theirs) = peers.split_at(CONNECTIONS);
    let mut connections = ours.iter().map(|peer| runtime.block_on(open(peer))).collect::<VecDeque<_>>();
    let connect = |peer: &Peer| runtime.block_on(RawClient::connect(peer.endpoint(), sent.clone()));
    let mut raw = theirs.iter().map(connect).collect::<VecDeque<_>>();
    let runtime = Rc::new(runtime);
    let same = runtime.clone();
    Check {
        name,
        what,
        baseline_is: "a raw tokio client's with the same bytes",
        limit,
        clock,
        records: 1,
        bytes,
        subject: Box::new(move || {
            connections.rotate_left(1);
            runtime.block_on(async {
                let options = CallOptions::new(Deadline::after(Instant::now(), NO_HURRY));
                connections[0].call(&request, options).await.expect("an answer");
            });
        }),
        baseline: Box::new(move || {
            raw.rotate_left(1);
            same.block_on(raw[0].exchange());
        }),
    }
}

async fn open(peer: &Peer) -> Connection {
    let deadline = Deadline::after(Instant::now(), NO_HURRY);
    let config = ConnectionConfig::default();
    Connection::open(&Env::system(), peer.endpoint(), &config, deadline).await.expect("a connection")
}

fn bytes_of<E: std::fmt::Debug>(frame: Result<Frame, E>) -> Bytes {
    frame.expect("what is made here can be encoded").to_bytes()
}

fn small() -> Exchange<MetadataRequest> {
    let topic = MetadataRequestTopic { name: Some("t".repeat(50)), ..Default::default() };
    Exchange {
        request: MetadataRequest { topics: Some(vec![topic]), ..Default::default() },
        response: MetadataResponse { cluster_id: Some("c".repeat(80)), ..Default::default() },
    }
}

fn large_request() -> Exchange<ProduceRequest> {
    let data = PartitionProduceData { index: 0, records: Some(mebibyte()) };
    let topic = TopicProduceData { partition_data: vec![data], ..Default::default() };
    Exchange {
        request: ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() },
        response: ProduceResponse::default(),
    }
}

fn large_answer() -> Exchange<FetchRequest> {
    let data = PartitionData { records: Some(mebibyte()), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: vec![data], ..Default::default() };
    Exchange {
        request: FetchRequest::default(),
        response: FetchResponse { responses: vec![topic], ..Default::default() },
    }
}

fn mebibyte() -> Bytes {
    vec![7; 1 << 20].into()
}
