//! `resolve`: what became of an append whose outcome is unknown, as the log shows it.

use rskafka::client::consumer::Resolution;
use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{PartitionClient, Produced};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault, Profile};

use super::common::record;
use super::kit::{profile, start, start_plain};

/// An append whose every attempt has no answer, as `fault` says.
async fn unanswered(cluster: &FakeCluster, log: &PartitionClient, fault: Fault) -> Error {
    cluster.inject(fault.on(ApiKey::PRODUCE).always());
    let error = log.produce([record("in doubt"), record("too")]).await.unwrap_err();
    cluster.clear_faults();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    error
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_in_the_log_is_found_with_its_offsets() {
    let (cluster, _, log) = start(1).await;
    let before = log.produce([record("before")]).await.unwrap();
    let error = unanswered(&cluster, &log, Fault::swallow().after_applying()).await;
    log.produce([record("behind")]).await.unwrap();
    let Resolution::Written(produced) = log.resolve(&error).await.unwrap() else { panic!("{error:?}") };
    let Produced { base_offset, record_count, encoded_size, .. } = produced;
    assert_eq!((base_offset, record_count), (1, 2));
    assert!(encoded_size > before.encoded_size);
    // Another client of the partition finds it too, also from an error that was passed on.
    let error = error.clone();
    assert!(matches!(log.resolve(&error).await.unwrap(), Resolution::Written(_)));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_not_in_the_log_is_open_until_a_later_epoch_is() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    let error = unanswered(&cluster, &log, Fault::swallow()).await;
    assert_eq!(log.resolve(&error).await.unwrap(), Resolution::Open);
    log.produce([record("behind")]).await.unwrap();
    let expected = if has_epochs() { Resolution::NotWritten } else { Resolution::Open };
    assert_eq!(log.resolve(&error).await.unwrap(), expected);
}

/// Whether brokers refuse a batch of an earlier epoch.
fn has_epochs() -> bool {
    !matches!(profile(), Profile::Redpanda | Profile::EventHubs)
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_surely_not_written_needs_no_look() {
    let (cluster, _, log) = start(1).await;
    cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
    let error = log.produce([record("refused")]).await.unwrap_err();
    cluster.clear_requests();
    assert_eq!(log.resolve(&error).await.unwrap(), Resolution::NotWritten);
    assert_eq!(cluster.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_found_is_told() {
    let (cluster, client, log) = start_plain(1).await;
    let refused = ErrorKind::InvalidArgument("the error is not of an idempotent append to this partition");
    let error = unanswered(&cluster, &log, Fault::swallow()).await;
    assert_eq!(log.resolve(&error).await.unwrap_err().kind(), &refused);
    // Of another partition.
    cluster.create_topic("other", 1, 1).unwrap();
    let other = client.partition_client("other", 0).await.unwrap();
    let error = unanswered(&cluster, &other, Fault::swallow()).await;
    assert_eq!(log.resolve(&error).await.unwrap_err().kind(), &refused);
    assert_eq!(other.resolve(&error).await.unwrap(), Resolution::Open);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_deleted_is_open() {
    let (cluster, _, log) = start(1).await;
    log.produce([record("before")]).await.unwrap();
    let error = unanswered(&cluster, &log, Fault::swallow().after_applying()).await;
    log.produce([record("behind, in a later epoch")]).await.unwrap();
    cluster.delete_records(super::kit::TOPIC, 0, 3).unwrap();
    assert_eq!(log.resolve(&error).await.unwrap(), Resolution::Open);
}
