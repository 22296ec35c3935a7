//! librdkafka's side of the comparisons of `cargo xtask bench`, by the crate rdkafka.
//!
//! Its options are those that somebody who writes a log would set: idempotent, acknowledged by all, batches as large as the
//! other sides' have them.

#[path = "../../../limits/side.rs"]
mod side;

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::side::{BATCHES, Call, KEY, READ_ON, TOPIC, Times, WRITTEN, Work, serve};

const TIMEOUT: Duration = Duration::from_secs(30);
/// After how many records the results of earlier ones are looked at.
const POLL_EVERY: usize = 256;

fn main() {
    let work = std::env::args().next_back().and_then(|work| serde_json::from_str::<Work>(&work).ok());
    let work = work.expect("the last argument says what to work on");
    match work.call {
        Call::Produce => produce(&work),
        Call::Fetch => fetch(&work),
        Call::Append => append(&work),
    }
}

fn config(work: &Work) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &work.address);
    config
}

fn producer_config(work: &Work, linger_ms: &str) -> ClientConfig {
    let mut config = config(work);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", linger_ms)
        .set("compression.type", if work.is_lz4 { "lz4" } else { "none" })
        .set("batch.num.messages", work.records.max(10_000).to_string())
        .set("batch.size", (1 << 20).to_string())
        .set("message.max.bytes", "2000000");
    config
}

/// Fails where a record is not written.
struct MustBeWritten;

impl ClientContext for MustBeWritten {}

impl ProducerContext for MustBeWritten {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().expect("an append");
    }
}

/// The library cuts records into batches by itself.
fn produce(work: &Work) {
    let producer: BaseProducer<MustBeWritten> =
        producer_config(work, "5").create_with_context(MustBeWritten).expect("a producer");
    let values = work.values();
    serve(|calls| {
        for _ in 0..calls {
            for (index, value) in values.iter().enumerate() {
                send(&producer, value, work.timestamp + index as i64);
                if index % POLL_EVERY == 0 {
                    producer.poll(Duration::ZERO);
                }
            }
        }
        producer.flush(TIMEOUT).expect("all are written");
        Vec::new()
    });
}

fn send(producer: &BaseProducer<MustBeWritten>, value: &[u8], timestamp: i64) {
    let mut record =
        BaseRecord::to(TOPIC).partition(WRITTEN).key(&KEY[..]).payload(value).timestamp(timestamp);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// A call is a batch of a partition with [`BATCHES`] of them, or as many as the environment says, which is read again and
/// again.
fn fetch(work: &Work) {
    let batches = std::env::var("BATCHES").map_or(BATCHES, |batches| batches.parse().expect("a number"));
    let mut config = config(work);
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        // The end of the partition is met often.
        .set("fetch.wait.max.ms", "1")
        .set("fetch.error.backoff.ms", "0")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(TOPIC, READ_ON, Offset::Beginning).expect("a partition");
    consumer.assign(&partition).expect("it is assigned");
    let mut is_first = true;
    let mut pass = || {
        // Not at the end of the pass before: what it reads ahead is to be read while the time runs.
        if !std::mem::replace(&mut is_first, false) {
            consumer.seek(TOPIC, READ_ON, Offset::Beginning, TIMEOUT).expect("it seeks");
        }
        for _ in 0..work.records * batches as usize {
            let record = consumer.poll(TIMEOUT).expect("a record").expect("a record");
            assert_eq!(record.payload().map(<[u8]>::len), Some(work.size));
        }
    };
    serve(|calls| {
        assert!(calls.is_multiple_of(batches), "calls are whole passes");
        (0..calls / batches).for_each(|_| pass());
        Vec::new()
    });
}

/// From one or many tasks, each of which awaits its record before it gives the next.
fn append(work: &Work) {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let producer: FutureProducer = producer_config(work, "0").create().expect("a producer");
    let Work { callers, timestamp, .. } = *work;
    let value = work.values().swap_remove(0);
    serve(|calls| {
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (producer, value) = (producer.clone(), value.clone());
            tasks.spawn(async move {
                let mut times = Times::new(callers);
                for _ in 0..calls / callers as u32 {
                    let since = times.begin();
                    let record = FutureRecord::to(TOPIC).partition(WRITTEN).key(&KEY[..]).payload(&value);
                    let record = record.timestamp(timestamp);
                    producer.send(record, TIMEOUT).await.expect("an append");
                    times.end(since);
                }
                times.taken()
            });
        }
        runtime.block_on(tasks.join_all()).concat()
    });
}

/// As many threads as the other side has.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
