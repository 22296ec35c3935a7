//! Records of many callers in batches.

use std::time::Duration;

use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::ErrorCode;
use rskafka::record::Record;

use super::{Brokers, PATIENCE, new_log, new_topic, now, read_all, record, values};

/// Longer than these cases take.
const LONG: Duration = Duration::from_secs(20);

type Records = RecordAggregator<(), String, ()>;

fn producer(log: &PartitionClient, linger: Duration) -> BatchProducer<Records> {
    BatchProducer::builder(log.clone()).linger(linger).build(RecordAggregator::new(1 << 20))
}

pub async fn each_of_many_callers_gets_the_offset_of_its_record(brokers: Brokers) {
    let (_client, log) = new_log(&brokers, "batching").await;
    for linger in [Duration::ZERO, Duration::from_millis(2)] {
        let producer = producer(&log, linger);
        let tasks: Vec<_> = (0..32)
            .map(|task| {
                let producer = producer.clone();
                tokio::spawn(async move {
                    let mut written = Vec::new();
                    for number in 0..50 {
                        let value = format!("{linger:?} {task} {number}");
                        let offset = producer.produce(Record::new((), value.clone(), now())).await.unwrap();
                        written.push((offset, value));
                    }
                    written
                })
            })
            .collect();
        let mut written = Vec::new();
        for task in tasks {
            let of_task = task.await.unwrap();
            assert!(of_task.is_sorted_by(|one, next| one.0 < next.0), "{of_task:?}");
            written.extend(of_task);
        }
        written.sort();
        let read = read_all(&log).await;
        let read = &read[read.len() - written.len()..];
        assert_eq!(
            read.iter().map(|read| read.offset).collect::<Vec<_>>(),
            written.iter().map(|one| one.0).collect::<Vec<_>>()
        );
        assert_eq!(values(read), written.into_iter().map(|one| one.1).collect::<Vec<_>>());
        assert!(producer.close(PATIENCE).await.is_empty());
    }
}

pub async fn a_flush_sends_what_lingers_and_a_close_leaves_nothing(brokers: Brokers) {
    let (_client, log) = new_log(&brokers, "flushing").await;
    let producer = producer(&log, LONG);
    let line = |number: i32| producer.produce(Record::new((), number.to_string(), now()));
    let flushed: Vec<_> = (0..10).map(line).collect();
    tokio::time::timeout(LONG / 2, producer.flush()).await.expect("it does not linger").unwrap();
    for (call, offset) in flushed.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), offset);
    }
    // Nobody awaits these.
    (10..20).for_each(|number| drop(line(number)));
    assert!(producer.close(LONG / 2).await.is_empty());
    assert_eq!(line(20).await.unwrap_err().kind(), &ErrorKind::ProducerClosed);
    assert_eq!(values(&read_all(&log).await), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

pub async fn a_batch_that_is_refused_fails_all_its_callers(brokers: Brokers) {
    let client = Client::new_plain(brokers).await.unwrap();
    let topic = new_topic("refusing");
    client.create_topic(&topic, 1, 1).config("max.message.bytes", "10000").await.unwrap();
    let log = super::served(&client, &topic, 0).await;
    log.produce([record("before")]).await.unwrap();
    let producer = producer(&log, LONG);
    let calls: Vec<_> = (0..5).map(|_| producer.produce(Record::new((), "x".repeat(3_000), now()))).collect();
    let refused = producer.flush().await.unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::Broker(ErrorCode::MESSAGE_TOO_LARGE));
    for call in calls {
        let error = call.await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (refused.kind(), Outcome::NotWritten));
    }
    let after = producer.produce(Record::new((), "after".to_owned(), now()));
    producer.flush().await.unwrap();
    assert_eq!(after.await.unwrap(), 1);
    assert_eq!(values(&read_all(&log).await), ["before", "after"]);
}
