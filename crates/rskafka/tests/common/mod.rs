//! Cases that hold on every cluster: the in-process one and real brokers run the same functions.
//!
//! Each case makes its own topics, so that any number can run at once on a cluster that is in use.

pub mod admin;
pub mod append;
pub mod batched;
pub mod closing;
pub mod dropped;
#[allow(dead_code, clippy::duplicate_mod, reason = "examples have a `main`, and all have the same support")]
pub mod examples;
pub mod exclusive;
pub mod guide;
pub mod line;
pub mod message_sets;
pub mod offsets;
pub mod raw;
pub mod reading;
pub mod readme;
pub mod reads;
pub mod recover;
#[path = "../../../rskafka-fake/tests/it/redpanda.rs"]
mod redpanda;
pub mod refusals;
pub mod socks5;
pub mod topics;
pub mod waiting;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka::protocol::{ApiKey, decode_response, encode_request};
use rskafka::record::{Record, RecordAndOffset};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The clusters' addresses, as a client takes them.
pub type Brokers = Vec<String>;

/// How much later than its deadline a call may end on a busy machine.
pub const SLACK: Duration = Duration::from_millis(100);

/// Tests that wait for nothing in particular wait this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A topic name that nobody else uses.
pub fn new_topic(case: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("rskafka-{case}-{}-{nanos:x}-{count}", std::process::id())
}

/// A client and a partition client of a new topic with one partition.
pub async fn new_log(brokers: &Brokers, case: &str) -> (Client, PartitionClient) {
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    let topic = new_topic(case);
    client.create_topic(&topic, 1, 1).await.unwrap();
    let log = served(&client, &topic, 0).await;
    (client, log)
}

/// A partition client whose leader takes requests. With ZooKeeper, other brokers name a leader of a new topic before it knows that
/// it is one; a produce in between is refused with a code that leaves its outcome open.
pub async fn served(client: &Client, topic: &str, partition: i32) -> PartitionClient {
    let asking = async {
        loop {
            if let Ok(log) = client.partition_client(topic, partition).await
                && log.get_offset(OffsetAt::Latest).await.is_ok()
            {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("nobody leads the new topic")
}

/// What a broker advertises: its APIs, each with its newest version.
async fn advertised(brokers: &Brokers) -> HashMap<ApiKey, i16> {
    let mut stream = TcpStream::connect(&brokers[0]).await.unwrap();
    let request = encode_request(&ApiVersionsRequest::default(), 0, 1, None).unwrap();
    stream.write_all(&request.to_bytes()).await.unwrap();
    let mut frame = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut frame).await.unwrap();
    let (_, answer) = decode_response::<ApiVersionsResponse>(0, &frame.into()).unwrap();
    answer.api_keys.iter().map(|api| (ApiKey(api.api_key), api.max_version)).collect()
}

/// Whether the brokers' metadata tells a topic from another one of the same name.
pub async fn has_topic_ids(brokers: &Brokers) -> bool {
    const SINCE_METADATA: i16 = 10;
    advertised(brokers).await[&ApiKey::METADATA] >= SINCE_METADATA
}

/// Why a test does not apply to these brokers; `None` if it does.
///
/// Redpanda is known by what it advertises: Apache Kafka, since it has DescribeProducers, has had Produce 9 too.
pub async fn why_not(test: &str, brokers: &Brokers) -> Option<&'static str> {
    const WITH_DESCRIBE_PRODUCERS: i16 = 9;
    let advertised = advertised(brokers).await;
    let is_redpanda = advertised.contains_key(&ApiKey::DESCRIBE_PRODUCERS)
        && advertised[&ApiKey::PRODUCE] < WITH_DESCRIBE_PRODUCERS;
    redpanda::why_not(test).filter(|_| is_redpanda)
}

/// Says that a test shows nothing on such brokers, past libtest's capture: `cargo xtask test` counts these lines.
pub fn skipped(brokers: &str, test: &str, why: &str) {
    let line = format!("\nskipped under {brokers}: {test}: {why}\n");
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
}

/// A record with a value only.
pub fn record(value: impl Into<Vec<u8>>) -> Record<(), Vec<u8>, ()> {
    Record { key: (), value: value.into(), headers: (), timestamp: now() }
}

/// The time, to the millisecond: what Kafka keeps of it.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap()
}

/// Reads the whole log from its first offset.
pub async fn read_all(log: &PartitionClient) -> Vec<RecordAndOffset> {
    let mut all = Vec::new();
    recover::recover(log, |read| all.push(read)).await.unwrap();
    all
}

/// Reads a log that ends in the markers of a committed and of an aborted transaction, of which each wrote one record.
///
/// A loop that never gets past the markers ends with `PATIENCE`.
pub async fn recovers_up_to_the_markers_at_the_end(log: &PartitionClient) {
    let mut read = Vec::new();
    let recovering = recover::recover(log, |one| read.push(one));
    let next = tokio::time::timeout(PATIENCE, recovering).await.expect("it does not end").unwrap();
    assert_eq!(next, log.get_offset(OffsetAt::Latest).await.unwrap().offset);
    // Records of aborted transactions are not left out yet.
    assert_eq!(values(&read), ["committed", "aborted"]);
    assert_eq!(read.iter().map(|one| one.offset).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(next, 4);
}

/// The values of records, as text.
pub fn values(records: &[RecordAndOffset]) -> Vec<String> {
    let value =
        |read: &RecordAndOffset| String::from_utf8(read.record.value.clone().unwrap().to_vec()).unwrap();
    records.iter().map(value).collect()
}

/// Lists cases as tests: `$run` is called with each case's name and function.
#[macro_export]
macro_rules! cases {
    ($run:path; $($module:ident::{$($case:ident),* $(,)?};)*) => {$(
        mod $module {
            $(
                #[test]
                fn $case() {
                    let name = concat!(stringify!($module), "::", stringify!($case));
                    $run(name, $crate::common::$module::$case);
                }
            )*
        }
    )*};
}

/// The cases, all of them.
#[macro_export]
macro_rules! all_cases {
    ($run:path) => {
        $crate::cases! { $run;
            admin::{
                a_topic_is_described_with_its_id_and_its_replicas,
                a_topic_that_is_only_validated_is_not_created,
                partitions_lie_at_the_brokers_that_they_are_assigned_to,
                partitions_that_were_added_can_be_written,
                configs_are_described_and_altered,
                records_before_an_offset_are_deleted,
                records_of_a_compacted_topic_are_not_deleted,
                a_topic_that_loses_records_is_told_what_to_change,
                a_topic_for_a_log_lacks_nothing,
                offsets_of_tiered_storage_are_asked_for_where_brokers_know_them,
                the_record_with_the_latest_timestamp_is_found,
            };
            append::{
                appended_records_come_back_as_they_were,
                calls_are_appended_in_the_order_in_which_they_were_made,
                a_batch_has_consecutive_offsets,
                a_dropped_produce_hurts_no_other,
                large_records_one_by_one_do_not_wait_for_delayed_acknowledgements,
                a_batch_larger_than_asked_for_is_read_whole,
                clients_can_be_used_from_another_runtime,
                close_waits_for_what_is_in_line,
            };
            batched::{
                each_of_many_callers_gets_the_offset_of_its_record,
                a_flush_sends_what_lingers_and_a_close_leaves_nothing,
                a_batch_that_is_refused_fails_all_its_callers,
            };
            dropped::{calls_dropped_at_every_poll_hurt_nothing};
            examples::{
                each_example_does_what_it_is_for,
                what_the_client_counts_is_served,
                a_database_recovers_from_its_snapshot_and_the_log,
                a_store_that_is_killed_has_what_it_has_acknowledged,
            };
            exclusive::{
                two_writers_take_the_log_from_each_other,
                appends_are_pipelined_and_counted_in_the_order_of_the_calls,
                what_others_append_is_passed_over,
                a_standby_claims_what_it_has_followed_and_an_idle_owner_learns_it,
                a_reclaim_says_whether_the_log_is_still_ours,
                what_was_trimmed_is_gone_and_the_start_is_refused,
                what_makes_no_sense_is_refused_at_once,
                every_codec_carries_an_exclusive_log,
                what_a_process_sends_that_stood_still_over_another_claim_is_dead,
            };
            guide::{
                a_database_recovers_as_the_guide_does_with_wal,
                a_database_recovers_as_the_guide_does_without_wal,
                a_writer_goes_on_as_the_guide_does,
                callers_share_batches_as_the_guide_does,
            };
            closing::{a_close_ends_a_long_poll, limits_without_end_are_limits};
            offsets::{
                offsets_of_an_empty_log,
                offsets_by_end_and_by_time,
                fetch_beyond_the_log_reports_its_bounds,
                fetch_from_the_middle_of_a_batch_begins_at_the_offset,
            };
            reading::{
                a_stream_reads_what_is_there_and_what_comes,
                a_replay_reads_ranges_over_several_connections,
                a_stream_tells_what_was_deleted,
                a_position_of_a_recreated_topic_is_refused,
                every_codec_is_read,
            };
            readme::{the_example_of_the_readme_runs};
            refusals::{
                an_unknown_topic_is_reported_by_its_name,
                an_unknown_partition_is_reported_by_its_index,
                a_batch_that_is_too_large_is_refused_and_not_written,
                arguments_that_make_no_sense_are_refused,
                a_produce_to_a_deleted_topic_is_not_written,
                a_recreated_topic_is_reported,
                what_is_called_not_written_is_not_in_the_log,
                a_record_without_a_key_is_not_written_to_a_compacted_topic,
                a_record_that_is_too_old_is_not_written,
                an_answer_larger_than_the_limit_is_refused_unread,
                a_fetch_asks_for_no_more_than_the_largest_frame_holds,
                a_new_partition_client_looks_at_what_is_there_now,
            };
            topics::{
                a_created_topic_is_listed_with_its_partitions,
                a_topic_that_exists_is_not_created_again,
                a_topic_that_exists_is_no_error_if_only_a_missing_one_is_to_be_created,
                a_topic_for_a_log_keeps_everything_in_two_copies,
                a_deleted_topic_is_gone,
                too_many_replicas_are_refused,
                configs_are_taken_over,
                an_append_tells_the_time_that_the_broker_gave_it,
                an_unknown_config_is_refused,
            };
            waiting::{
                a_fetch_waits_for_records,
                a_fetch_without_records_ends_with_its_wait,
                a_long_poll_delays_no_produce,
                many_partitions_at_once,
            };
        }
    };
}
