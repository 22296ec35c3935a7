//! What the connections to one broker have done, in numbers.
//!
//! Invariant: counting takes no lock; what is in flight is counted down however a request ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::endpoint::Endpoint;

/// The upper bounds of [`Latency::buckets`]; the last bucket holds all that took longer.
pub const LATENCY_BOUNDS: [Duration; 12] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// What the connections to one broker have done since the counters were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Requests that were sent, at least in part.
    pub requests: u64,
    /// Bytes handed to the sockets.
    pub bytes_out: u64,
    /// Bytes read from the sockets.
    pub bytes_in: u64,
    /// Requests that wait to be sent or to be answered, at this moment.
    pub in_flight: u64,
    /// How long answered requests took.
    pub latency: Latency,
    /// Attempts that were made because an earlier one of the same call had failed.
    pub retries: u64,
    /// How often an answer asked for silence (KIP-219).
    pub throttled: u64,
    /// For how long in all; times that overlap count twice.
    pub throttle_time: Duration,
    /// Connections that were opened.
    pub connects: u64,
    /// Those of them that replaced an earlier one, to whichever broker, that had ended.
    pub reconnects: u64,
    /// Connections that could not be opened.
    pub failed_connects: u64,
}

/// How long answered requests took, from entering the queue to the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How many were answered.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
    /// How many took up to each of [`LATENCY_BOUNDS`] and longer than the one before; the last, longer than all.
    pub buckets: [u64; LATENCY_BOUNDS.len() + 1],
}

/// The counters of one broker, shared by all connections to it.
#[derive(Debug)]
pub struct Counters {
    requests: Counter,
    bytes_out: Counter,
    bytes_in: Counter,
    in_flight: AtomicU64,
    latency_sum_us: AtomicU64,
    latency_max_us: AtomicU64,
    latency_buckets: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    retries: Counter,
    throttled: Counter,
    throttle_time_ms: Counter,
    connects: Counter,
    reconnects: Counter,
    failed_connects: Counter,
}

impl Counters {
    /// Counters at zero, of the broker at `endpoint`.
    pub fn new(_endpoint: &Endpoint) -> Self {
        Self {
            requests: Counter::new(),
            bytes_out: Counter::new(),
            bytes_in: Counter::new(),
            in_flight: AtomicU64::new(0),
            latency_sum_us: AtomicU64::new(0),
            latency_max_us: AtomicU64::new(0),
            latency_buckets: Default::default(),
            retries: Counter::new(),
            throttled: Counter::new(),
            throttle_time_ms: Counter::new(),
            connects: Counter::new(),
            reconnects: Counter::new(),
            failed_connects: Counter::new(),
        }
    }

    /// The numbers at this moment. They are read one by one, while connections go on counting.
    pub fn snapshot(&self) -> BrokerStats {
        let mut buckets = [0; LATENCY_BOUNDS.len() + 1];
        for (count, bucket) in buckets.iter_mut().zip(&self.latency_buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        BrokerStats {
            requests: self.requests.value(),
            bytes_out: self.bytes_out.value(),
            bytes_in: self.bytes_in.value(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency: Latency {
                count: buckets.iter().sum(),
                sum: Duration::from_micros(self.latency_sum_us.load(Ordering::Relaxed)),
                max: Duration::from_micros(self.latency_max_us.load(Ordering::Relaxed)),
                buckets,
            },
            retries: self.retries.value(),
            throttled: self.throttled.value(),
            throttle_time: Duration::from_millis(self.throttle_time_ms.value()),
            connects: self.connects.value(),
            reconnects: self.reconnects.value(),
            failed_connects: self.failed_connects.value(),
        }
    }

    /// Counts an attempt that follows a failed one.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// Counts a connection that replaces an earlier one, beside its opening.
    pub fn reconnected(&self) {
        self.reconnects.add(1);
    }

    pub(crate) fn opened(&self, is_open: bool) {
        if is_open { &self.connects } else { &self.failed_connects }.add(1);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_in.add(bytes as u64);
    }

    pub(crate) fn wrote(&self, bytes: usize, requests_begun: usize) {
        self.bytes_out.add(bytes as u64);
        self.requests.add(requests_begun as u64);
    }
}

/// A request that has not ended.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Counters>);

impl InFlight {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }

    /// Counts the answer, and the silence that it asks for.
    pub(crate) fn answered(&self, after: Duration, throttle: Duration) {
        let Self(counters) = self;
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < after);
        if let Some(bucket) = counters.latency_buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = after.as_micros() as u64;
        counters.latency_sum_us.fetch_add(micros, Ordering::Relaxed);
        counters.latency_max_us.fetch_max(micros, Ordering::Relaxed);
        if throttle > Duration::ZERO {
            counters.throttled.add(1);
            counters.throttle_time_ms.add(throttle.as_millis() as u64);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Counter {
    value: AtomicU64,
}

impl Counter {
    fn new() -> Self {
        Self { value: AtomicU64::new(0) }
    }

    fn add(&self, count: u64) {
        if count > 0 {
            self.value.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}
