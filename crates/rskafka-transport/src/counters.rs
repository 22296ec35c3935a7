//! Counters of the connections to one broker.
//!
//! Invariant: counting takes no lock; a request is counted as in flight until it has ended, in whatever way.

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
    /// Number of requests per bucket: bucket i counts those above bound i-1 and up to bound i of [`LATENCY_BOUNDS`], the
    /// last those above all bounds.
    pub buckets: [u64; LATENCY_BOUNDS.len() + 1],
}

/// Declares what is counted: each name is a field of the snapshot, a counter and a metric.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// What the connections to one broker have done since the counters were made.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct BrokerStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Requests that wait to be sent or to be answered, at this moment.
            pub in_flight: u64,
            /// How long answered requests took.
            pub latency: Latency,
            /// The silences asked for, added up; overlapping times count twice.
            pub throttle_time: Duration,
        }

        /// The counters of one broker, shared by all connections to it.
        ///
        /// With the feature `metrics` they are also given to the recorder that is installed when this is made, as
        /// `rskafka_` and the fields' names of [`BrokerStats`], with the label `broker` for the address.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            in_flight: AtomicU64,
            #[cfg(feature = "metrics")]
            in_flight_metric: metrics::Gauge,
            latency: Histogram,
            throttle_time_ms: Counter,
        }

        impl Counters {
            /// Counters at zero, of the broker at `endpoint`.
            pub fn new(endpoint: &Endpoint) -> Self {
                let broker = &endpoint.to_string();
                Self {
                    $($name: Counter::new(concat!("rskafka_", stringify!($name)), broker),)*
                    in_flight: AtomicU64::new(0),
                    #[cfg(feature = "metrics")]
                    in_flight_metric: metrics::gauge!("rskafka_in_flight", "broker" => broker.to_owned()),
                    latency: Histogram::new("rskafka_latency_seconds", broker),
                    throttle_time_ms: Counter::new("rskafka_throttle_time_ms", broker),
                }
            }

            /// The numbers at this moment. They are read one by one, while connections go on counting.
            pub fn snapshot(&self) -> BrokerStats {
                BrokerStats {
                    $($name: self.$name.value(),)*
                    in_flight: self.in_flight.load(Ordering::Relaxed),
                    latency: self.latency.snapshot(),
                    throttle_time: Duration::from_millis(self.throttle_time_ms.value()),
                }
            }
        }
    };
}

counters! {
    /// Requests that were sent, at least in part.
    requests;
    /// Bytes handed to the sockets.
    bytes_out;
    /// Bytes read from the sockets.
    bytes_in;
    /// Attempts that were made because an earlier one of the same call had failed.
    retries;
    /// How often an answer asked for silence (KIP-219).
    throttled;
    /// Connections that were opened.
    connects;
    /// Connections opened because an earlier one of the same lane, to whichever broker, had ended.
    reconnects;
    /// Connections that could not be opened.
    failed_connects;
}

/// A request that has not ended.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Counters>);

impl InFlight {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        counters.in_flight_metric.increment(1);
        Self(Arc::clone(counters))
    }

    /// Counts the answer, and the silence that it asks for.
    pub(crate) fn answered(&self, after: Duration, throttle: Duration) {
        self.0.latency.record(after);
        if throttle > Duration::ZERO {
            self.0.throttled.add(1);
            self.0.throttle_time_ms.add(throttle.as_millis() as u64);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.0.in_flight_metric.decrement(1);
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    metric: metrics::Counter,
}

impl Counter {
    fn new(_name: &'static str, _broker: &str) -> Self {
        Self {
            value: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            metric: metrics::counter!(_name, "broker" => _broker.to_owned()),
        }
    }

    /// Adds to it, and to its metric.
    pub fn add(&self, count: u64) {
        if count > 0 {
            self.value.fetch_add(count, Ordering::Relaxed);
            #[cfg(feature = "metrics")]
            self.metric.increment(count);
        }
    }

    fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Histogram {
    sum_us: AtomicU64,
    max_us: AtomicU64,
    buckets: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    #[cfg(feature = "metrics")]
    metric: metrics::Histogram,
}

impl Histogram {
    fn new(_name: &'static str, _broker: &str) -> Self {
        Self {
            sum_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
            buckets: Default::default(),
            #[cfg(feature = "metrics")]
            metric: metrics::histogram!(_name, "broker" => _broker.to_owned()),
        }
    }

    fn record(&self, after: Duration) {
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < after);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let micros = after.as_micros() as u64;
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
        self.max_us.fetch_max(micros, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.metric.record(after);
    }

    fn snapshot(&self) -> Latency {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        Latency {
            count: buckets.iter().sum(),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
            max: Duration::from_micros(self.max_us.load(Ordering::Relaxed)),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_falls_into_the_first_bucket_that_holds_it() {
        let counters = Arc::new(Counters::new(&Endpoint::new("broker", 9092)));
        let answered = |after| InFlight::new(&counters).answered(after, Duration::ZERO);
        for bound in LATENCY_BOUNDS {
            answered(bound);
            answered(bound + Duration::from_micros(1));
        }
        let latency = counters.snapshot().latency;
        assert_eq!(latency.buckets, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!((latency.count, latency.max), (24, LATENCY_BOUNDS[11] + Duration::from_micros(1)));
        assert_eq!(latency.sum, LATENCY_BOUNDS.iter().sum::<Duration>() * 2 + Duration::from_micros(12));
        assert_eq!(counters.snapshot().in_flight, 0);
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn a_recorder_of_the_metrics_crate_gets_the_same_numbers() {
        use std::collections::BTreeMap;
        use std::sync::Mutex;

        use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};

        #[derive(Default)]
        struct Recorded(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

        impl Recorded {
            fn slot(&self, key: &Key) -> Arc<AtomicU64> {
                let label = key.labels().next().expect("a label");
                let name = format!("{} {}={}", key.name(), label.key(), label.value());
                self.0.lock().unwrap().entry(name).or_default().clone()
            }
        }

        impl Recorder for Recorded {
            fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
                metrics::Counter::from_arc(self.slot(key))
            }
            fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
                metrics::Gauge::from_arc(self.slot(key))
            }
            fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
                metrics::Histogram::noop()
            }
        }

        let recorded = Recorded::default();
        let counters =
            metrics::with_local_recorder(&recorded, || Arc::new(Counters::new(&Endpoint::new("b", 1))));
        counters.bytes_out.add(70);
        counters.requests.add(2);
        counters.bytes_in.add(30);
        counters.retries.add(1);
        let in_flight = InFlight::new(&counters);
        in_flight.answered(Duration::from_millis(1), Duration::from_secs(2));
        let value = |name: &str| {
            let recorded = recorded.0.lock().unwrap();
            recorded[&format!("rskafka_{name} broker=b:1")].load(Ordering::Relaxed)
        };
        assert_eq!((value("requests"), value("bytes_out"), value("bytes_in")), (2, 70, 30));
        assert_eq!((value("retries"), value("throttled"), value("throttle_time_ms")), (1, 1, 2000));
        assert_eq!(f64::from_bits(value("in_flight")), 1.0);
        drop(in_flight);
        assert_eq!(f64::from_bits(value("in_flight")), 0.0);
    }
}
