//! What is compared, and what the client may cost beside the others.

use crate::ours::Way;
use crate::side::Call::{self, Append, Fetch, Produce};
use crate::side::{BATCHES, Sample};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The raw client, with a batch that was encoded before.
    Raw,
    /// The same with so many batches in flight.
    RawInFlight(usize),
    /// The raw client, which encodes each batch.
    RawEncoding,
    /// The client, with so many batches in flight.
    Ours(Way, usize),
    /// The client, with one batch in flight, to one of [`PARTITIONS`] after the other.
    Spread,
    /// An exclusive log, with so many batches in flight.
    Wal(usize),
    Rdkafka,
    /// rskafka 0.6.
    Earlier,
}

/// Which broker, and what is between it and the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    AtOnce,
    Kafka,
    /// One that answers at once, a round trip of 1 ms away.
    FarAway,
}

/// What of a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Cpu,
    Wall,
    P50,
    P99,
    Faults,
}

pub(crate) struct Case {
    /// With the broker in it, which makes it unique.
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) on: On,
    pub(crate) call: Call,
    /// In a batch.
    pub(crate) records: usize,
    pub(crate) size: usize,
    pub(crate) is_lz4: bool,
    pub(crate) callers: usize,
    /// In a sample.
    pub(crate) calls: u32,
    /// Processes of each side, one after the other.
    pub(crate) rounds: usize,
    /// Of each process.
    pub(crate) samples: usize,
    pub(crate) sides: Vec<Side>,
    pub(crate) limits: Vec<Limit>,
}

/// A side's measure may be `times` that of `than`; in ns for each record, it may be `beyond` above that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) side: Side,
    pub(crate) measure: Measure,
    pub(crate) times: f64,
    pub(crate) beyond: Option<f64>,
    pub(crate) than: Side,
}

/// Processes of each side, and samples of each process: two processes of one program may differ by how the kernel sized the
/// buffers of their sockets.
const ROUNDS: usize = 5;
const SAMPLES: usize = 5;
/// One record at a time.
pub(crate) const ONE: Side = Side::Ours(Way::Records, 5);
const TOGETHER: Side = Side::Ours(Way::BatchProducer, 5);
const RAW_IN_FLIGHT: Side = Side::RawInFlight(5);
const FETCH_OWNED: Side = Side::Ours(Way::Records, 1);
const FETCH_BORROWED: Side = Side::Ours(Way::Batch, 1);
/// Reads whole passes over twelve batches, which Kafka gives from its disk's cache.
const STREAM: Side = Side::Ours(Way::Stream, 1);
const LOOP: Side = Side::Ours(Way::Loop, 1);
const BATCH_IN_FLIGHT: [Side; 2] = [Side::Ours(Way::Batch, 1), Side::Ours(Way::Batch, 5)];
const PEERS: [Side; 2] = [Side::Rdkafka, Side::Earlier];
const RECORDS_IN_FLIGHT: [Side; 2] = [Side::Ours(Way::Records, 1), Side::Ours(Way::Records, 5)];

/// Name, size of a value, whether by lz4; how many times the raw client's CPU a batch of 1 MiB may take, and how many times
/// that of a raw client that encodes the records a call with records and one batch in flight may take.
const PRODUCE: [(&str, usize, bool, f64, Option<f64>); 4] = [
    ("produce-100B", 100, false, 1.6, Some(1.7)),
    ("produce-1KiB", 1024, false, 1.2, Some(1.25)),
    ("produce-10KiB", 10_240, false, 1.1, Some(1.1)),
    ("produce-1KiB-lz4", 1024, true, 1.0, None),
];
/// What each record may cost above that if the client encodes it.
const ENCODING_NS: f64 = 60.0;
/// Name, size of a value, whether by lz4; how many times the raw client's CPU a fetch may take whose records are borrowed, and
/// owned; without the latter, each record may cost [`OWNED_NS`].
const FETCH: [(&str, usize, bool, f64, Option<f64>); 4] = [
    ("fetch-100B", 100, false, 1.6, None),
    ("fetch-1KiB", 1024, false, 1.15, Some(1.3)),
    ("fetch-10KiB", 10_240, false, 1.1, Some(1.12)),
    ("fetch-1KiB-lz4", 1024, true, 0.75, Some(0.8)),
];
const OWNED_NS: f64 = 60.0;
/// Minor page faults for each MiB of values read.
const FAULTS: f64 = 12.0;
/// The rate of a stream by that of single fetches.
const STREAM_TIMES: f64 = 1.3;
/// One 100 B record at a time: CPU by the raw client's, and what the median may take above its.
const ONE_TIMES: f64 = 1.25;
const ONE_BEYOND_NS: f64 = 5_000.0;
/// One record at a time, with values of so many bytes.
const ONE_SIZES: [(&str, usize); 4] =
    [("one-100B", 100), ("one-1KiB", 1024), ("one-10KiB", 10_240), ("one-100KiB", 102_400)];
/// One record at a time from so many tasks; the rate by librdkafka's.
const TOGETHER_TIMES: [(usize, Option<f64>); 6] =
    [(1, None), (4, None), (16, None), (64, Some(1.1)), (256, None), (512, Some(1.1))];
/// CPU of each record of 64 tasks.
const TOGETHER_NS: f64 = 400.0;
/// With 5 batches in flight by 1 in flight, where a round trip takes 1 ms.
const PIPELINED_TIMES: f64 = 3.0;
/// CPU of an append to an exclusive log by that of a batch that is filled before; what one entry at a time may take above one
/// record, and a record that is read above one of a stream.
const EXCLUSIVE_TIMES: f64 = 1.1;
const EXCLUSIVE_ONE_NS: f64 = 3_000.0;
const EXCLUSIVE_READ_NS: f64 = 5.0;
/// More, as the two sides lie closer together than two processes of one side.
const EXCLUSIVE_ROUNDS: usize = 40;
/// Of one entry at a time there are many short samples: the pace of the machine changes within tens of milliseconds.
const EXCLUSIVE_ONE: (usize, u32) = (50, 50);
/// Of reading there are more too, so that what a pair of samples says is not far from the limit by chance.
const EXCLUSIVE_READ: usize = 20;
/// CPU with so many partitions by that with one, at the same rate in all.
pub(crate) const PARTITIONS: i32 = 100;
const SPREAD_TIMES: f64 = 1.5;

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for on in [On::AtOnce, On::Kafka] {
        cases.extend(PRODUCE.map(|(name, size, is_lz4, by_batch, by_records)| {
            produce(Case::of_batches(on, Produce, name, size), is_lz4, by_batch, by_records)
        }));
        cases.extend(FETCH.map(|(name, size, is_lz4, borrowed, owned)| {
            fetch(Case::of_batches(on, Fetch, name, size), is_lz4, borrowed, owned)
        }));
        cases.extend(ONE_SIZES.map(|(name, size)| one(on, name, size)));
        cases.extend(TOGETHER_TIMES.map(|(callers, times)| together(on, callers, times)));
    }
    for on in [On::AtOnce, On::Kafka] {
        cases.extend([exclusive_batches(on), exclusive_one(on), exclusive_read(on)]);
    }
    let exclusive = cases.iter_mut().filter(|case| case.name.contains("wal-"));
    exclusive.for_each(|case| case.rounds = EXCLUSIVE_ROUNDS);
    cases.extend([pipelined(), spread()]);
    cases
}

fn produce(mut case: Case, is_lz4: bool, by_batch: f64, by_records: Option<f64>) -> Case {
    case.set_lz4(is_lz4);
    case.sides = vec![Side::Raw, RAW_IN_FLIGHT, Side::RawEncoding];
    case.sides.retain(|side| !is_lz4 || *side != Side::RawEncoding);
    case.sides.extend(BATCH_IN_FLIGHT.into_iter().chain(RECORDS_IN_FLIGHT).chain(PEERS));
    // Each beside the raw client with as many in flight: what lies in more memory of the kernel costs both more.
    let limit = |side| {
        let is_alone = matches!(side, Side::Ours(_, 1));
        Limit::new(side, Measure::Cpu, by_batch, if is_alone { Side::Raw } else { RAW_IN_FLIGHT })
    };
    case.limits.extend(BATCH_IN_FLIGHT.map(limit));
    case.limits.extend(RECORDS_IN_FLIGHT.map(|side| Limit { beyond: Some(ENCODING_NS), ..limit(side) }));
    let [records, _] = RECORDS_IN_FLIGHT;
    let encoding = by_records.map(|times| Limit::new(records, Measure::Cpu, times, Side::RawEncoding));
    case.limits.extend(encoding);
    case
}

fn fetch(mut case: Case, is_lz4: bool, borrowed: f64, owned: Option<f64>) -> Case {
    case.set_lz4(is_lz4);
    let ours = [FETCH_BORROWED, FETCH_OWNED, STREAM];
    case.sides = [Side::Raw].into_iter().chain(ours).chain([LOOP]).chain(PEERS).collect();
    case.limits.push(Limit::new(FETCH_BORROWED, Measure::Cpu, borrowed, Side::Raw));
    case.limits.push(match owned {
        Some(times) => Limit::new(FETCH_OWNED, Measure::Cpu, times, Side::Raw),
        None => Limit { beyond: Some(OWNED_NS), ..Limit::new(FETCH_OWNED, Measure::Cpu, 0.0, Side::Raw) },
    });
    let faults = FAULTS * case.size as f64 / f64::from(1 << 20);
    let few = |side| Limit { beyond: Some(faults), ..Limit::new(side, Measure::Faults, 0.0, Side::Raw) };
    case.limits.extend(ours.map(few));
    if case.on == On::Kafka {
        case.limits.push(Limit::new(STREAM, Measure::Wall, 1.0 / STREAM_TIMES, LOOP));
    }
    case
}

fn one(on: On, name: &str, size: usize) -> Case {
    let mut case = Case::of_one_at_a_time(on, name, &format!("one {size} B record at a time"), 1);
    // rskafka 0.6 waits 40 ms for each of the larger ones.
    case.calls = if size > 1024 { 40 } else { 400 };
    case.size = size;
    case.sides = [Side::Raw, ONE].into_iter().chain(PEERS).collect();
    if on == On::Kafka && size == 100 {
        let median = Limit::new(ONE, Measure::P50, 1.0, Side::Raw);
        case.limits.push(Limit::new(ONE, Measure::Cpu, ONE_TIMES, Side::Raw));
        case.limits.push(Limit { beyond: Some(ONE_BEYOND_NS), ..median });
    }
    case
}

fn together(on: On, callers: usize, times: Option<f64>) -> Case {
    let what = format!("{callers} tasks with one 100 B record at a time");
    let mut case = Case::of_one_at_a_time(on, &format!("together-{callers}"), &what, callers);
    let most = if on == On::Kafka { 1 << 14 } else { 1 << 16 };
    case.calls = most.min(1 << 10 << callers.ilog2());
    case.sides = [Side::Raw, TOGETHER].into_iter().chain(PEERS).collect();
    if let (On::Kafka, Some(times)) = (on, times) {
        case.limits.push(Limit::new(TOGETHER, Measure::Wall, 1.0 / times, Side::Rdkafka));
        case.limits.push(Limit::new(TOGETHER, Measure::P99, 1.0, Side::Rdkafka));
        if callers == 64 {
            let cpu = Limit::new(TOGETHER, Measure::Cpu, 0.0, Side::Rdkafka);
            case.limits.push(Limit { beyond: Some(TOGETHER_NS), ..cpu });
        }
    }
    case
}

fn exclusive_batches(on: On) -> Case {
    let mut case = Case::of_batches(on, Produce, "wal-1KiB", 1024);
    for (batch, in_flight) in BATCH_IN_FLIGHT.into_iter().zip([1, 5]) {
        case.sides.extend([batch, Side::Wal(in_flight)]);
        case.limits.push(Limit::new(Side::Wal(in_flight), Measure::Cpu, EXCLUSIVE_TIMES, batch));
    }
    case
}

fn exclusive_one(on: On) -> Case {
    let mut case = Case::of_one_at_a_time(on, "wal-one-100B", "one 100 B entry at a time", 1);
    (case.samples, case.calls) = EXCLUSIVE_ONE;
    case.sides = vec![ONE, Side::Wal(5)];
    let limit =
        |measure| Limit { beyond: Some(EXCLUSIVE_ONE_NS), ..Limit::new(Side::Wal(5), measure, 1.0, ONE) };
    case.limits.extend([Measure::Cpu, Measure::P50].map(limit));
    case
}

fn exclusive_read(on: On) -> Case {
    let mut case = Case::of_batches(on, Fetch, "wal-read-100B", 100);
    case.samples = EXCLUSIVE_READ;
    let stream = Side::Ours(Way::NewStream, 1);
    case.sides = vec![stream, Side::Wal(1)];
    case.limits.push(Limit {
        beyond: Some(EXCLUSIVE_READ_NS),
        ..Limit::new(Side::Wal(1), Measure::Cpu, 1.0, stream)
    });
    case
}

fn pipelined() -> Case {
    let [one, five] = BATCH_IN_FLIGHT;
    let what = "batches of 1,000 100 B records".to_owned();
    let mut case = Case { what, records: 1000, ..Case::of_batches(On::FarAway, Produce, "pipelined", 100) };
    case.sides = vec![one, five];
    case.limits.push(Limit::new(five, Measure::Wall, 1.0 / PIPELINED_TIMES, one));
    case
}

fn spread() -> Case {
    let [one, _] = RECORDS_IN_FLIGHT;
    let what = "batches of 1,000 100 B records".to_owned();
    let mut case = Case { what, records: 1000, ..Case::of_batches(On::AtOnce, Produce, "spread", 100) };
    case.calls = 500;
    case.sides = vec![one, Side::Spread];
    case.limits.push(Limit::new(Side::Spread, Measure::Cpu, SPREAD_TIMES, one));
    case
}

impl Case {
    fn of_batches(on: On, call: Call, name: &str, size: usize) -> Self {
        let records = crate::BATCH_BYTES / (size + 24);
        // librdkafka reads whole passes. Few appends to Kafka, as it keeps all on its disk.
        let calls = BATCHES * if on == On::Kafka && call != Fetch { 1 } else { 5 };
        let calls_are = if call == Fetch { "fetches" } else { "appends" };
        let what = format!("{calls_are} of 1 MiB, {records} records of {size} B");
        Self {
            name: format!("{}{name}", on.prefix()),
            what,
            on,
            call,
            records,
            size,
            is_lz4: false,
            callers: 1,
            calls,
            rounds: ROUNDS,
            samples: SAMPLES,
            sides: Vec::new(),
            limits: Vec::new(),
        }
    }

    fn of_one_at_a_time(on: On, name: &str, what: &str, callers: usize) -> Self {
        Self { what: what.to_owned(), records: 1, callers, ..Self::of_batches(on, Append, name, 100) }
    }

    fn set_lz4(&mut self, is_lz4: bool) {
        self.is_lz4 = is_lz4;
        self.what += if is_lz4 { ", lz4" } else { "" };
    }

    /// In a sample.
    pub(crate) fn records_of_sample(&self) -> f64 {
        f64::from(self.calls) * self.records as f64
    }
}

impl Limit {
    fn new(side: Side, measure: Measure, times: f64, than: Side) -> Self {
        Self { side, measure, times, beyond: None, than }
    }
}

impl Measure {
    pub(crate) fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Cpu => sample.cpu,
            Self::Wall => sample.wall,
            Self::P50 => sample.p50,
            Self::P99 => sample.p99,
            Self::Faults => sample.faults,
        }
    }

    /// Whether it is one of all calls, and not of single ones.
    pub(crate) fn is_of_all(self) -> bool {
        matches!(self, Self::Cpu | Self::Wall | Self::Faults)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Wall => "time",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Faults => "page faults",
        }
    }
}

impl On {
    fn prefix(self) -> &'static str {
        match self {
            Self::AtOnce | Self::FarAway => "",
            Self::Kafka => "kafka-",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "a broker that answers at once",
            Self::Kafka => "Kafka",
            Self::FarAway => "a broker 1 ms away",
        }
    }
}

impl Side {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Raw => "raw".to_owned(),
            Self::RawInFlight(in_flight) => format!("raw, {in_flight}"),
            Self::RawEncoding => "raw, encoding".to_owned(),
            Self::Ours(Way::Records, in_flight) => format!("records, {in_flight}"),
            Self::Ours(Way::Batch, in_flight) => format!("batch, {in_flight}"),
            Self::Ours(Way::BatchProducer, _) => "BatchProducer".to_owned(),
            Self::Ours(Way::Stream, _) => "stream".to_owned(),
            Self::Ours(Way::NewStream, _) => "new stream".to_owned(),
            Self::Ours(Way::Loop, _) => "single fetches".to_owned(),
            Self::Spread => format!("records, 1, {PARTITIONS} partitions"),
            Self::Wal(in_flight) => format!("wal, {in_flight}"),
            Self::Rdkafka => "rdkafka".to_owned(),
            Self::Earlier => "rskafka 0.6".to_owned(),
        }
    }
}
