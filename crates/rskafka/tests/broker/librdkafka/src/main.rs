//! Writes and reads the only partition of a topic with librdkafka: `write HOST:PORT TOPIC NAME=VALUE..` or
//! `read HOST:PORT TOPIC RECORDS`. The former takes records from standard input, and options of librdkafka as arguments. Both print
//! records as they are in the log.

#[path = "../../../common/line.rs"]
mod line;

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use line::Line;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Header, Headers as _, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", brokers, topic, ref options @ ..] => write(brokers, topic, options),
        ["read", brokers, topic, records] => read(brokers, topic, records.parse().expect("a number")),
        _ => panic!("not the arguments of this program: {arguments:?}"),
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// The offsets of what is in the log, by where the record came in the input.
#[derive(Default)]
struct Delivered(Mutex<Vec<(usize, i64)>>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let written = result.as_ref().unwrap_or_else(|(error, _)| panic!("record {index}: {error}"));
        self.0.lock().unwrap().push((*index, written.offset()));
    }
}

fn write(brokers: &str, topic: &str, options: &[&str]) {
    let mut config = config(brokers);
    // All go into one batch.
    config.set("linger.ms", "500");
    for option in options {
        let (name, value) = option.split_once('=').expect("NAME=VALUE");
        config.set(name, value);
    }
    let producer: BaseProducer<Delivered> =
        config.create_with_context(Delivered::default()).expect("a producer");
    let mut lines: Vec<Line> =
        std::io::stdin().lines().map(|line| line.expect("text").parse().expect("a record")).collect();
    for (index, line) in lines.iter().enumerate() {
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(topic, Box::new(index)).partition(0).timestamp(line.timestamp);
        (record.key, record.payload) = (line.key.as_deref(), line.value.as_deref());
        // No headers at all, because the formats before magic 2 have none.
        record.headers = (!line.headers.is_empty()).then(|| {
            let headers = line.headers.iter().map(|(name, value)| {
                let key = std::str::from_utf8(name).expect("librdkafka's names are text");
                Header { key, value: value.as_deref() }
            });
            headers.fold(OwnedHeaders::new(), OwnedHeaders::insert)
        });
        producer.send(record).map_err(|(error, _)| error).expect("it is queued");
    }
    producer.flush(TIMEOUT).expect("all are written");
    let delivered = std::mem::take(&mut *producer.context().0.lock().unwrap());
    assert_eq!(delivered.len(), lines.len());
    delivered.into_iter().for_each(|(index, offset)| lines[index].offset = offset);
    print(&lines);
}

fn read(brokers: &str, topic: &str, records: usize) {
    let mut config = config(brokers);
    config.set("group.id", "none").set("enable.auto.commit", "false").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&partition).expect("it is assigned");
    let lines = std::iter::repeat_with(|| {
        let read = consumer.poll(TIMEOUT).expect("a record").expect("a record");
        let (Timestamp::CreateTime(timestamp) | Timestamp::LogAppendTime(timestamp)) = read.timestamp()
        else {
            panic!("offset {} has no time", read.offset());
        };
        let headers = read.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|header| (header.key.into(), header.value.map(Into::into)));
        let [key, value] = [read.key(), read.payload()].map(|bytes| bytes.map(Into::into));
        Line { offset: read.offset(), timestamp, key, value, headers: headers.collect() }
    });
    print(&lines.take(records).collect::<Vec<_>>());
}

fn print(lines: &[Line]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::io::stdout().write_all(text.as_bytes()).expect("somebody reads");
}
