//! What a connection may cost beside a raw client that sends and receives the same bytes, measured for
//! `cargo xtask bench`.
//!
//! Invariant: both sides exchange the same bytes with peers of the same kind, over loopback, in the same run.

#[path = "../../../rskafka-protocol/benches/limits/harness.rs"]
mod harness;
mod peer;
mod raw;

use std::cell::RefCell;
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

/// How many exchanges a new connection has behind it when it is measured: the kernel gives it larger buffers
/// with time.
const WARM_UP: usize = 4;

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
                Clock::P50(200),
                beyond,
                one_thread(),
                small(),
            ),
            check(
                "latency-100B-2-threads",
                "a request and an answer of 100 B, p50, on a runtime of two threads",
                Clock::P50(200),
                beyond,
                two_threads(),
                small(),
            ),
            check(
                "request-1MiB",
                "CPU of a request of 1 MiB",
                Clock::CpuOfBothEnds,
                Limit::Times(1.3),
                one_thread(),
                large_request(),
            ),
            check(
                "answer-1MiB",
                "CPU of an answer of 1 MiB",
                Clock::CpuOfBothEnds,
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

    // Each socket has buffers that grow by what the kernel has seen of it: several, and others for each pair,
    // even that out.
    let runtime = Rc::new(runtime);
    let sides = Rc::new(RefCell::new(Sides {
        runtime,
        request,
        ours: VecDeque::new(),
        raw: VecDeque::new(),
        answer: Vec::new(),
    }));
    let (subject, baseline, renew) = (sides.clone(), sides.clone(), sides);
    Check {
        name,
        what,
        baseline_is: "a raw tokio client's with the same bytes",
        limit,
        clock,
        renew: Some(Box::new(move || renew.borrow_mut().renew(&answer, &sent))),
        records: 1,
        bytes,
        subject: Box::new(move || subject.borrow_mut().exchange()),
        baseline: Box::new(move || baseline.borrow_mut().exchange_raw()),
    }
}

/// The connections of both, and where they run.
struct Sides<R> {
    runtime: Rc<Runtime>,
    request: R,
    ours: VecDeque<Connection>,
    raw: VecDeque<RawClient>,
    /// One for all connections, as what the other side frees is its next answer's: so both are as likely in a cache.
    answer: Vec<u8>,
}

impl<R: Request> Sides<R> {
    /// Other connections, to other peers.
    fn renew(&mut self, answer: &Bytes, sent: &Bytes) {
        (self.ours, self.raw) = (VecDeque::new(), VecDeque::new());
        let runtime = self.runtime.clone();
        for _ in 0..CONNECTIONS {
            self.ours.push_back(runtime.block_on(open(&Peer::start(answer.clone()))));
            let peer = Peer::start(answer.clone());
            self.raw.push_back(runtime.block_on(RawClient::connect(peer.endpoint(), sent.clone())));
        }
        for _ in 0..CONNECTIONS * WARM_UP {
            self.exchange();
            self.exchange_raw();
        }
    }

    fn exchange(&mut self) {
        self.ours.rotate_left(1);
        self.runtime.block_on(async {
            let options = CallOptions::new(Deadline::after(Instant::now(), NO_HURRY));
            self.ours[0].call(&self.request, options).await.expect("an answer");
        });
    }

    fn exchange_raw(&mut self) {
        self.raw.rotate_left(1);
        self.runtime.block_on(self.raw[0].exchange(&mut self.answer));
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
