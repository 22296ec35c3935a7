//! Streams of a log that changes below them, or has changed in ways that are no loss.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rskafka::client::consumer::{OutOfRange, StartAt};
use rskafka::client::error::ErrorKind;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka_fake::Fault;

use super::common::{now, record};
use super::kit::{TOPIC, start};

#[tokio::test(start_paused = true)]
async fn an_epoch_that_ended_among_compacted_records_is_no_truncation() {
    let (cluster, _, log) = start(2).await;
    let keyed = |key: &str| Record { key: key.to_owned(), value: "", headers: (), timestamp: now() };
    log.produce([keyed("a")]).await.unwrap();
    cluster.move_leader(TOPIC, 0, 2).unwrap();
    for value in 0..4 {
        log.produce([record(value.to_string())]).await.unwrap();
    }
    log.produce([keyed("b")]).await.unwrap();
    cluster.compact(TOPIC, 0).unwrap();
    let mut stream = log.stream(StartAt::Earliest).until(3).build();
    let first = stream.by_ref().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(first.iter().map(|read| read.offset).collect::<Vec<_>>(), [0]);
    let position = stream.position().unwrap();
    assert_eq!(position.offset(), 3);
    let next = log.stream(StartAt::Position(position)).build().next().await.unwrap().unwrap();
    assert_eq!(next.offset, 5);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_loses_its_end_while_its_bounds_are_asked_for_has_none() {
    let (cluster, _, log) = start(2).await;
    log.produce([record("kept"), record("kept")]).await.unwrap();
    cluster.hold_replica(TOPIC, 0, 2).unwrap();
    cluster.shrink_isr(TOPIC, 0, 2).unwrap();
    for _ in 2..10 {
        log.produce([record("lost")]).await.unwrap();
    }
    cluster.delete_records(TOPIC, 0, 5).unwrap();
    let mut stream = log.stream(StartAt::Offset(50)).on_out_of_range(OutOfRange::Continue).build();
    // It asks for the end again.
    cluster.inject(Fault::close().on(ApiKey::LIST_OFFSETS).skip(1));
    let loses_end = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cluster.elect_unclean(TOPIC, 0, 2).unwrap();
    };
    let (error, ()) = tokio::join!(stream.next(), loses_end);
    assert_eq!(error.unwrap().unwrap_err().code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    let gone = ErrorKind::OffsetOutOfRange { offset: 50, log_start: 0, log_end: 2 };
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), &gone);
    assert_eq!(stream.position().unwrap().offset(), 2);
}
