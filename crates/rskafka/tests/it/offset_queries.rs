//! Offsets that are asked for while the log changes.

use std::time::Duration;

use rskafka::client::OffsetAt;
use rskafka::client::error::ErrorKind;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka_fake::Fault;
use time::OffsetDateTime;
use tokio::time::sleep;

use super::common::{now, record};
use super::kit::{TIMEOUT, TOPIC, assert_says, builder, failure, fake, has_topic_ids, start};

fn all() -> [OffsetAt; 4] {
    let before_1970 = OffsetDateTime::UNIX_EPOCH - Duration::from_millis(1);
    [OffsetAt::Earliest, OffsetAt::Latest, OffsetAt::Timestamp(now()), OffsetAt::Timestamp(before_1970)]
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_in_while_a_time_is_looked_up_is_not_skipped() {
    // A look-up by time takes two requests. The broker serves one, holds back its answer, and appends meanwhile.
    for before in [0, 1] {
        let (cluster, _, log) = start(1).await;
        let time = now();
        let at = |timestamp| [Record { timestamp, ..record("x") }];
        log.produce(at(time - Duration::from_secs(60))).await.unwrap();
        cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::LIST_OFFSETS).skip(before));
        let reader = log.clone();
        let looking = tokio::spawn(async move { reader.get_offset(OffsetAt::Timestamp(time)).await });
        sleep(Duration::from_millis(500)).await;
        assert_eq!(log.produce(at(time)).await.unwrap().base_offset, 1);
        assert_eq!(looking.await.unwrap().unwrap().offset, 1, "held back: request {before}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_offset_of_another_topic_of_the_same_name_is_given() {
    for at in all() {
        let (cluster, _, log) = start(1).await;
        log.produce([record("one")]).await.unwrap();
        log.get_offset(at).await.unwrap();
        cluster.recreate_topic(TOPIC).unwrap();
        let found = log.get_offset(at).await;
        if has_topic_ids() {
            assert_eq!(found.unwrap_err().kind(), &ErrorKind::TopicRecreated, "{at:?}");
        } else {
            assert_eq!(found.unwrap().offset, 0, "{at:?}: nothing tells the topics apart");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_replaced_while_its_offset_is_asked_for_is_reported() {
    for at in all() {
        let (cluster, _, log) = start(1).await;
        log.produce([record("one")]).await.unwrap();
        log.get_offset(at).await.unwrap();
        cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::LIST_OFFSETS));
        let reader = log.clone();
        let asking = tokio::spawn(async move { reader.get_offset(at).await });
        sleep(Duration::from_millis(500)).await;
        cluster.recreate_topic(TOPIC).unwrap();
        if has_topic_ids() {
            let error = asking.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::TopicRecreated, "{at:?}");
        } else {
            asking.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_look_at_the_topic_ends_with_the_deadline_of_the_whole_call() {
    for at in all() {
        let (cluster, _, log) = start(1).await;
        log.get_offset(at).await.unwrap();
        cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::LIST_OFFSETS));
        cluster.inject(Fault::swallow().on(ApiKey::METADATA).always());
        if has_topic_ids() {
            let error = failure(TIMEOUT, log.get_offset(at)).await;
            assert!(error.is_timeout(), "{at:?}: {error:?}");
        } else {
            log.get_offset(at).await.expect("without ids there is nothing to look at");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_offsets_of_a_topic_that_is_gone_are_not_given() {
    for at in all() {
        let (cluster, _, log) = start(1).await;
        log.get_offset(at).await.unwrap();
        cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::LIST_OFFSETS));
        let reader = log.clone();
        let asking = tokio::spawn(async move { reader.get_offset(at).await });
        sleep(Duration::from_millis(500)).await;
        cluster.delete_topic(TOPIC).unwrap();
        if has_topic_ids() {
            let error = asking.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::UnknownTopicOrPartition, "{at:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_bounds_cannot_be_asked_for_holds_no_fetch_beyond_its_deadline() {
    let (cluster, _, log) = start(1).await;
    log.get_offset(OffsetAt::Latest).await.unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::LIST_OFFSETS).always());
    let error = failure(TIMEOUT, log.fetch_records(7, 1..1_000_000, 0)).await;
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::OFFSET_OUT_OF_RANGE), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_would_take_what_is_asked_for_for_a_time_is_not_asked() {
    for (at, known_from) in [
        (OffsetAt::MaxTimestamp, 7),
        (OffsetAt::EarliestLocal, 8),
        (OffsetAt::LatestTiered, 9),
        (OffsetAt::EarliestPendingUpload, 11),
    ] {
        let last = known_from - 1;
        let cluster = fake().advertise(ApiKey::LIST_OFFSETS, 1..=last).in_memory().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let log = builder(&cluster).build().await.unwrap().partition_client(TOPIC, 0).await.unwrap();
        let error = log.get_offset(at).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
        let speaks = format!("the broker speaks 1..={last}");
        assert_says(&error, &["ListOffsets on topic wal partition 0 at broker 1 (", &speaks]);
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 0);
    }
}
