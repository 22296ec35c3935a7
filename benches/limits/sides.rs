//! The client and the raw client, on the same partitions of the same broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use rskafka::client::{Client, PartitionClient};
use rskafka::record::Record;
use tokio::runtime::{Builder, Runtime};

use crate::raw::RawClient;
use crate::{Call, KEY, Payloads, READ, TOPIC, WRITTEN};

const FETCH_BYTES: usize = 2_000_000;

/// Makes so many calls.
type Side = fn(&mut Sides, u32);

pub(crate) struct Sides {
    runtime: Runtime,
    ours: Ours,
    raw: RawClient,
    payloads: Arc<Payloads>,
}

#[derive(Clone)]
struct Ours {
    written: PartitionClient,
    read: PartitionClient,
    // Kept, as its partitions' connections are.
    _client: Client,
}

/// Two workers, as what a service has.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A new topic with one batch in the partition to be read.
pub(crate) async fn new_topic(client: &Client, payloads: &Payloads) {
    let _ = client.delete_topic(TOPIC).await;
    client
        .create_topic(TOPIC, 2, 1)
        .config("max.message.bytes", FETCH_BYTES.to_string())
        // The records' time is long ago.
        .config("retention.ms", "-1")
        .await
        .expect("a topic");
    client
        .partition_client(TOPIC, READ)
        .await
        .expect("a partition")
        .produce(records(payloads))
        .await
        .expect("an append");
}

/// What both sides append.
pub(crate) fn records(payloads: &Payloads) -> impl Iterator<Item = Record<&[u8], &[u8], ()>> {
    payloads.iter().map(|(timestamp, value)| Record::new(&KEY[..], &value[..], *timestamp))
}

impl Sides {
    /// Connects both to a broker, with the batch that they write and read.
    pub(crate) fn open(address: &str, payloads: &Payloads) -> Self {
        let runtime = runtime();
        let ours = runtime.block_on(async {
            let client = Client::builder([address]).build().await.expect("a client");
            new_topic(&client, payloads).await;
            let open =
                async |partition| client.partition_client(TOPIC, partition).await.expect("a partition");
            Ours { written: open(WRITTEN).await, read: open(READ).await, _client: client }
        });
        let raw = RawClient::connect(address, FETCH_BYTES as i32);
        Self { runtime, ours, raw, payloads: Arc::new(payloads.clone()) }
    }

    /// How many records a call has.
    pub(crate) fn records(&self) -> usize {
        self.payloads.len()
    }

    /// Pairs of processor times in ns: of one call of ours, and of the raw client's.
    pub(crate) fn pairs(&mut self, pairs: usize, calls: u32, call: Call) -> Vec<(f64, f64)> {
        let (ours, raw): (Side, Side) = match call {
            Call::Produce => (Self::produce, Self::produce_raw),
            Call::Fetch => (Self::fetch, Self::fetch_raw),
        };
        let mut cpu = |side: Side| {
            let since = processor_time();
            side(self, calls);
            (processor_time() - since).as_secs_f64() * 1e9 / f64::from(calls)
        };
        // Buffers grow first.
        cpu(ours);
        cpu(raw);
        // Neither side is always the first.
        (0..pairs)
            .map(|pair| {
                if pair % 2 == 0 {
                    (cpu(ours), cpu(raw))
                } else {
                    let raw = cpu(raw);
                    (cpu(ours), raw)
                }
            })
            .collect()
    }

    /// Pairs of median times in ns from start to end of an append: of ours, and of the raw client's.
    pub(crate) fn medians(&mut self, pairs: usize, calls: u32) -> Vec<(f64, f64)> {
        let mut pair = || {
            let Ours { written, .. } = self.ours.clone();
            let payloads = self.payloads.clone();
            let ours = self.runtime.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..calls {
                    let since = Instant::now();
                    written.produce(records(&payloads)).await.expect("an append");
                    times.push(since.elapsed());
                }
                median(times)
            });
            let ours = self.runtime.block_on(ours).expect("it ends");
            let raw = (0..calls).map(|_| {
                let since = Instant::now();
                self.raw.produce(&self.payloads);
                since.elapsed()
            });
            (ours, median(raw.collect()))
        };
        pair();
        (0..pairs).map(|_| pair()).collect()
    }

    fn produce(&mut self, calls: u32) {
        let Ours { written, .. } = self.ours.clone();
        let payloads = self.payloads.clone();
        self.spawned(async move {
            for _ in 0..calls {
                written.produce(records(&payloads)).await.expect("an append");
            }
        });
    }

    fn produce_raw(&mut self, calls: u32) {
        (0..calls).for_each(|_| self.raw.produce(&self.payloads));
    }

    fn fetch(&mut self, calls: u32) {
        let Ours { read, .. } = self.ours.clone();
        let expected = self.payloads.len();
        self.spawned(async move {
            for _ in 0..calls {
                let fetched = read.fetch(0).max_bytes(FETCH_BYTES).await.expect("a fetch");
                assert_eq!(fetched.into_records().count(), expected);
            }
        });
    }

    fn fetch_raw(&mut self, calls: u32) {
        (0..calls).for_each(|_| assert_eq!(self.raw.fetch(), self.payloads.len()));
    }

    /// In a task of the client's runtime, as services have it.
    fn spawned(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.block_on(self.runtime.spawn(work)).expect("it ends");
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e9
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("the kernel counts this time").into()
}
