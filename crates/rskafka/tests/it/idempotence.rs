//! Appends with sequence numbers: each is written once and in order, whatever becomes of its answers; and what was
//! acknowledged and then lost is noticed.

use std::time::Duration;

use rskafka::client::error::{ErrorClass, ErrorKind, Outcome};
use rskafka::client::{Acks, Client, PartitionClient};
use rskafka::protocol::records::{Batch, Compression, NewRecord, RecordBatchBuilder};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka_fake::{ByteFault, FakeCluster, Fault, Profile};
use tokio::time::Instant;

use super::common::{SLACK, read_all, record, values};
use super::kit::{
    DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT, TOPIC, assert_says, builder, close_connections, failure,
    profile, speaks, start,
};

fn log_of(cluster: &FakeCluster) -> Vec<String> {
    let values = cluster.log(TOPIC, 0).unwrap().values().unwrap();
    values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

fn batches(cluster: &FakeCluster) -> Vec<Batch> {
    cluster.log(TOPIC, 0).unwrap().decoded().unwrap()
}

/// The producer id and epoch of each batch in the log.
fn producers(cluster: &FakeCluster) -> Vec<(i64, i16)> {
    batches(cluster).iter().map(|batch| (batch.header().producer_id, batch.header().producer_epoch)).collect()
}

/// A cluster and a log whose producer the partition knows.
async fn started(brokers: usize) -> (FakeCluster, Client, PartitionClient) {
    let (cluster, client, log) = start(brokers).await;
    log.produce([record("first")]).await.unwrap();
    (cluster, client, log)
}

/// Whether it is sure that the brokers compare the epochs of a producer.
fn compares_epochs(cluster: &FakeCluster) -> bool {
    speaks(cluster, ApiKey::DESCRIBE_CLUSTER, 0)
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_is_lost_is_written_once_and_gets_its_offset() {
    let faults = [
        Fault::close(),
        Fault::close().after_applying(),
        Fault::swallow(),
        Fault::swallow().after_applying(),
        Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).after_applying(),
        Fault::answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION).after_applying(),
        Fault::answer(ErrorCode::REQUEST_TIMED_OUT).after_applying(),
        Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND).after_applying(),
        Fault::answer(ErrorCode::KAFKA_STORAGE_ERROR).after_applying(),
        Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS),
        Fault::cut_at(4).after_applying(),
        Fault::wrong_correlation_id(1).after_applying(),
    ];
    for fault in faults {
        let (cluster, _client, log) = started(1).await;
        let text = format!("{fault:?}");
        cluster.inject(fault.on(ApiKey::PRODUCE).times(2));
        let produced = log.produce([record("struck")]).await.unwrap();
        assert_eq!(produced.base_offset, 1, "{text}");
        log.produce([record("next")]).await.unwrap();
        assert_eq!(log_of(&cluster), ["first", "struck", "next"], "{text}");
        assert!(producers(&cluster).iter().all(|producer| *producer == producers(&cluster)[0]), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_at_any_byte_of_a_request_or_an_answer_costs_no_append() {
    for (place, is_answer) in (0..150).step_by(7).flat_map(|place| [(place, false), (place, true)]) {
        let (cluster, _client, log) = started(1).await;
        let cut = ByteFault::cut();
        cluster.inject_bytes(if is_answer { cut.after_sent(place) } else { cut.after_received(place) });
        let calls: Vec<_> = (0..6).map(|number| log.produce([record(number.to_string())])).collect();
        for (call, offset) in calls.into_iter().zip(1..) {
            assert_eq!(call.await.unwrap().base_offset, offset, "byte {place}, {is_answer}");
        }
        assert_eq!(log_of(&cluster), ["first", "0", "1", "2", "3", "4", "5"], "byte {place}, {is_answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_batches_are_in_flight_once_the_partition_knows_the_producer_and_one_before() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(100)).on(ApiKey::PRODUCE).always());
    let calls: Vec<_> = (0..12).map(|number| log.produce([record(number.to_string())])).collect();
    for call in calls {
        call.await.unwrap();
    }
    let requests = cluster.requests();
    let mut produces: Vec<_> = requests.iter().filter(|request| request.api_key == ApiKey::PRODUCE).collect();
    produces.sort_by_key(|request| request.arrived);
    let first = produces.remove(0);
    assert!(
        produces[0].arrived >= first.answered.unwrap(),
        "the second went out before the first was answered"
    );
    let arrived_by = |moment| produces.iter().filter(|request| request.arrived <= moment).count();
    // The broker takes one at a time from the connection; the others wait there.
    assert!(arrived_by(produces[0].arrived) <= 5);
    let (_, _, alone) = start(1).await;
    drop(alone);
    assert_eq!(log_of(&cluster), (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_while_others_are_in_flight_keeps_its_place() {
    for code in
        [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::REQUEST_TIMED_OUT]
    {
        let (cluster, _client, log) = started(1).await;
        cluster.inject(Fault::answer(code).on(ApiKey::PRODUCE).times(2));
        let calls: Vec<_> = (0..5).map(|number| log.produce([record(number.to_string())])).collect();
        for (call, offset) in calls.into_iter().zip(1..) {
            assert_eq!(call.await.unwrap().base_offset, offset, "{code}");
        }
        assert_eq!(log_of(&cluster), ["first", "0", "1", "2", "3", "4"], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn appends_go_on_in_order_while_the_leader_moves() {
    let (cluster, _client, log) = started(3).await;
    let calls: Vec<_> = (0..60).map(|number| log.produce([record(number.to_string())])).collect();
    let moving = async {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
            cluster.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
        }
    };
    cluster.inject(Fault::delay(Duration::from_millis(5)).on(ApiKey::PRODUCE).always());
    let appending = async {
        for (call, offset) in calls.into_iter().zip(1..) {
            assert_eq!(call.await.unwrap().base_offset, offset);
        }
    };
    tokio::join!(moving, appending);
    let expected: Vec<_> =
        ["first".to_owned()].into_iter().chain((0..60).map(|number| number.to_string())).collect();
    assert_eq!(log_of(&cluster), expected);
}

#[tokio::test(start_paused = true)]
async fn appends_leave_a_leader_that_stands_still_once_another_leads() {
    let (cluster, _client, log) = started(3).await;
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.inject_bytes(ByteFault::freeze().after_received(0).at_broker(old).always());
    let started = Instant::now();
    let calls: Vec<_> = (0..3).map(|number| log.produce([record(number.to_string())])).collect();
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    for (call, offset) in calls.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap().base_offset, offset);
    }
    // Others are asked every quarter of a second; without that, the request would have its whole time.
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(1_800) && elapsed < Duration::from_millis(2_500), "{elapsed:?}");
    assert!(elapsed < REQUEST_TIMEOUT);
}

/// Appends over a new partition client, whose first leader stands still for what `silence` injects, while another becomes the
/// leader after a while.
async fn append_while_the_leader_changes(silence: impl FnOnce(&FakeCluster, i32)) {
    let (cluster, client, _) = started(3).await;
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    silence(&cluster, old);
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let started = Instant::now();
    let call = log.produce([record("second")]);
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    assert_eq!(call.await.unwrap().base_offset, 1);
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(1_800) && elapsed < Duration::from_millis(2_500), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_a_leader_that_stands_still_is_not_waited_for_once_another_leads() {
    append_while_the_leader_changes(|cluster, old| {
        cluster.inject_bytes(ByteFault::freeze().after_received(0).at_broker(old).always());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_id_is_not_waited_for_at_a_leader_that_stands_still_once_another_leads() {
    append_while_the_leader_changes(|cluster, old| {
        cluster.inject(Fault::swallow().on(ApiKey::INIT_PRODUCER_ID).at_broker(old).always());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_surely_not_written_is_numbered_anew_where_its_sequence_is_refused() {
    let (cluster, _client, log) = started(1).await;
    let [old] = producers(&cluster)[..] else { panic!() };
    cluster.inject(Fault::answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    assert_eq!(log.produce([record("second")]).await.unwrap().base_offset, 1);
    let new = producers(&cluster)[1];
    match compares_epochs(&cluster) {
        true => assert_eq!(new, (old.0, old.1 + 1)),
        false => assert!(new.0 != old.0 && new.1 == 0, "{new:?}"),
    }
    assert_eq!(batches(&cluster)[1].header().base_sequence, 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_may_be_written_and_is_forgotten_is_unknown_and_those_after_it_go_on() {
    let (cluster, _client, log) = started(1).await;
    cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE));
    let lost = log.produce([record("lost")]);
    cluster.requests_like(2, |request| request.api_key == ApiKey::PRODUCE).await;
    cluster.inject(Fault::answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    let error = lost.await.unwrap_err();
    assert_eq!(
        (error.outcome(), error.code()),
        (Outcome::Unknown, Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER))
    );
    assert_eq!(log.produce([record("next")]).await.unwrap().base_offset, 2);
    assert_eq!(log_of(&cluster), ["first", "lost", "next"]);
    assert_ne!(producers(&cluster)[2], producers(&cluster)[0]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_the_partition_forgot_goes_on() {
    let (cluster, _client, log) = started(1).await;
    cluster.forget_producers(TOPIC, 0).unwrap();
    for number in 0..8 {
        log.produce([record(number.to_string())]).await.unwrap();
    }
    cluster.forget_producers(TOPIC, 0).unwrap();
    close_connections(&cluster, 1).await;
    log.produce([record("last")]).await.unwrap();
    assert_eq!(log_of(&cluster), ["first", "0", "1", "2", "3", "4", "5", "6", "7", "last"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_append_whose_time_ran_out_the_next_ones_go_on_and_nothing_is_written_twice() {
    let (cluster, _client, log) = started(1).await;
    let swallowed = cluster.inject(Fault::swallow().after_applying().on(ApiKey::PRODUCE).always());
    let (struck, behind) = (log.produce([record("struck")]), log.produce([record("behind")]));
    let started = Instant::now();
    let error = failure(DELIVERY_TIMEOUT, struck).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true), "{error}");
    assert!(error.attempts() >= 2 && started.elapsed() > REQUEST_TIMEOUT, "{error}");
    assert_eq!(failure(SLACK, behind).await.outcome(), Outcome::Unknown);
    cluster.remove_fault(swallowed);
    log.produce([record("next")]).await.unwrap();
    assert_eq!(log_of(&cluster), ["first", "struck", "behind", "next"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_append_leaves_no_hole() {
    let (cluster, _client, log) = started(1).await;
    cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE).times(3));
    for number in 0..10 {
        let call = log.produce([record(number.to_string())]);
        if number % 2 == 0 {
            drop(call);
        } else {
            call.await.unwrap();
        }
    }
    assert_eq!(log_of(&cluster), ["first", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn acknowledged_records_that_are_lost_are_noticed_before_anything_is_appended() {
    for knows_of_the_election in [true, false] {
        let (cluster, client, log) = started(1).await;
        for number in 0..4 {
            log.produce([record(number.to_string())]).await.unwrap();
        }
        cluster.truncate(TOPIC, 0, 2).unwrap();
        close_connections(&cluster, 1).await;
        if knows_of_the_election {
            client.partition_client(TOPIC, 0).await.unwrap();
        }
        let error = log.produce([record("late")]).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 2 }, "{error}");
        assert_says(&error, &["offset 2", "read the log again"]);
        // Before version 5, the end of the log that a broker tells cannot be relied on.
        let is_seen_before = knows_of_the_election && speaks(&cluster, ApiKey::LIST_OFFSETS, 5);
        // Else the append itself reveals it: its sequence number is refused.
        let outcome = if is_seen_before { Outcome::NotWritten } else { Outcome::Unknown };
        // Without leader epochs, a look at the log comes with each connection: the end of the old one decides.
        if speaks(&cluster, ApiKey::METADATA, 9) {
            assert_eq!(error.outcome(), outcome, "{error}");
        }
        // A broker that compares no epochs may have taken it.
        let (kept, late) = log_of(&cluster).into_iter().partition::<Vec<_>, _>(|value| value != "late");
        assert_eq!(kept, ["first", "0"]);
        assert!(late.is_empty() || profile() == Profile::Redpanda, "{late:?}");
        // It is final for this writer, and for this one only.
        log.resume();
        let again = log.produce([record("again")]).await.unwrap_err();
        assert_eq!((again.kind(), again.class()), (error.kind(), ErrorClass::Fatal));
        let other = client.partition_client(TOPIC, 0).await.unwrap();
        other.produce([record("other")]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_records_that_were_overwritten_are_noticed() {
    let (cluster, client, log) = started(1).await;
    log.produce([record("lost")]).await.unwrap();
    cluster.truncate(TOPIC, 0, 1).unwrap();
    let other = client.partition_client(TOPIC, 0).await.unwrap();
    for number in 0..3 {
        other.produce([record(number.to_string())]).await.unwrap();
    }
    close_connections(&cluster, 1).await;
    let error = log.produce([record("late")]).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 1 }, "{error}");
    assert_eq!(log_of(&cluster), ["first", "0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_look_for_acknowledged_records_that_fails_is_made_again() {
    for looks in [ApiKey::LIST_OFFSETS, ApiKey::FETCH] {
        let (cluster, client, log) = started(1).await;
        log.produce([record("lost")]).await.unwrap();
        cluster.truncate(TOPIC, 0, 1).unwrap();
        client.partition_client(TOPIC, 0).await.unwrap().produce([record("other")]).await.unwrap();
        // Its sequence number reveals nothing then.
        cluster.forget_producers(TOPIC, 0).unwrap();
        close_connections(&cluster, 1).await;
        cluster.inject(Fault::answer(ErrorCode::UNKNOWN_SERVER_ERROR).on(looks));
        let error = log.produce([record("late")]).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::LogTruncated { divergence_offset: 1 }, "{looks:?}: {error}");
        assert_eq!(log_of(&cluster), ["first", "other"], "{looks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_were_trimmed_or_may_not_be_read_stop_no_append() {
    let (cluster, _client, log) = started(1).await;
    log.produce([record("trimmed")]).await.unwrap();
    cluster.delete_records(TOPIC, 0, 2).unwrap();
    cluster.inject(Fault::answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    log.produce([record("next")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::FETCH).always());
    cluster.inject(Fault::answer(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    log.produce([record("last")]).await.unwrap();
    assert_eq!(log_of(&cluster), ["next", "last"]);
}

#[tokio::test(start_paused = true)]
async fn with_stop_on_failure_nothing_is_sent_behind_an_append_that_failed_until_it_is_resumed() {
    let (cluster, client, _) = start(1).await;
    let log = client.partition_client(TOPIC, 0).stop_on_failure(true).max_in_flight(1).await.unwrap();
    log.produce([record("first")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
    let calls = ["refused", "behind", "too"].map(|value| log.produce([record(value)]));
    let [refused, behind, too] = calls;
    assert_eq!(refused.await.unwrap_err().kind(), &ErrorKind::Broker(ErrorCode::MESSAGE_TOO_LARGE));
    for call in [behind, too, log.produce([record("later")])] {
        let error = call.await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Stopped, Outcome::NotWritten), "{error}");
        assert_says(&error, &["an append before it failed", "resume()"]);
    }
    log.resume();
    log.produce([record("resumed")]).await.unwrap();
    assert_eq!(log_of(&cluster), ["first", "resumed"]);
    // Without the option, what is behind goes on.
    let other = client.partition_client(TOPIC, 0).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
    let (refused, behind) = (other.produce([record("refused")]), other.produce([record("behind")]));
    refused.await.unwrap_err();
    behind.await.unwrap();
    assert_eq!(log_of(&cluster), ["first", "resumed", "behind"]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_id_is_asked_for_until_it_is_given_and_a_refusal_says_what_to_do() {
    let (cluster, client, log) = start(1).await;
    cluster
        .inject(Fault::answer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).on(ApiKey::INIT_PRODUCER_ID).times(3));
    log.produce([record("first")]).await.unwrap();
    let refused = client.partition_client(TOPIC, 0).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::CLUSTER_AUTHORIZATION_FAILED).on(ApiKey::INIT_PRODUCER_ID));
    let error = refused.produce([record("refused")]).await.unwrap_err();
    assert_eq!((error.outcome(), error.api()), (Outcome::NotWritten, Some(ApiKey::INIT_PRODUCER_ID)));
    assert_says(&error, &["InitProducerId", "CLUSTER_AUTHORIZATION_FAILED", "WRITE", "idempotence(false)"]);
    let plain = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    plain.produce([record("plain")]).await.unwrap();
    assert_eq!(producers(&cluster)[1], (-1, -1));
}

#[tokio::test(start_paused = true)]
async fn after_a_warm_up_the_first_append_asks_for_nothing_but_itself() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::answer(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS).on(ApiKey::INIT_PRODUCER_ID));
    log.warm_up().await.unwrap();
    log.warm_up().await.unwrap();
    cluster.clear_requests();
    log.produce([record("first")]).await.unwrap();
    let asked: Vec<_> = cluster.requests().iter().map(|request| request.api_key).collect();
    assert_eq!(asked, [ApiKey::PRODUCE]);

    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::answer(ErrorCode::CLUSTER_AUTHORIZATION_FAILED).on(ApiKey::INIT_PRODUCER_ID));
    let error = log.warm_up().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    cluster.inject(Fault::swallow().on(ApiKey::INIT_PRODUCER_ID).always());
    assert!(failure(TIMEOUT, log.warm_up()).await.is_timeout());

    // A warm-up beside an append ends by itself, though the append is refused what both want.
    let (cluster, _client, log) = start(1).await;
    let refused = Fault::answer(ErrorCode::CLUSTER_AUTHORIZATION_FAILED).on(ApiKey::INIT_PRODUCER_ID);
    cluster.inject(refused);
    let (append, warm_up) = (log.produce([record("refused")]), log.warm_up());
    let (append, warm_up) =
        tokio::time::timeout(TIMEOUT, async { tokio::join!(append, warm_up) }).await.unwrap();
    assert_eq!(append.unwrap_err().code(), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    warm_up.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_producer_ids_is_named_and_used_without_idempotence() {
    let cluster = super::kit::fake().in_memory().without(ApiKey::INIT_PRODUCER_ID).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let client = builder(&cluster).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let error = log.produce([record("refused")]).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Unsupported, Outcome::NotWritten));
    assert_says(&error, &["idempotence(false)"]);
    let plain = client.partition_client(TOPIC, 0).idempotence(false).await.unwrap();
    plain.produce([record("plain")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_writers_have_two_producer_ids_also_over_one_connection() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).share_produce_connections().build().await.unwrap();
    for _ in 0..2 {
        client.partition_client(TOPIC, 0).await.unwrap().produce([record("one")]).await.unwrap();
    }
    let [one, two] = producers(&cluster)[..] else { panic!() };
    assert_ne!(one.0, two.0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_beyond_the_limit_is_refused_before_it_takes_a_sequence_number() {
    let (cluster, client, _) = start(1).await;
    let log = client.partition_client(TOPIC, 0).max_request_bytes(200).await.unwrap();
    let calls = ["first", &"x".repeat(200), "second"].map(|value| log.produce([record(value)]));
    let [first, large, second] = calls;
    let error = large.await.unwrap_err();
    let ErrorKind::BatchTooLarge { size, limit: 200 } = *error.kind() else { panic!("{error}") };
    assert!(size > 260 && error.outcome() == Outcome::NotWritten, "{error}");
    assert_says(&error, &[&size.to_string(), "max_request_bytes is 200"]);
    let mut batch = RecordBatchBuilder::new();
    batch.push(NewRecord::new(0, None, Some(&[7; 200]))).unwrap();
    assert!(matches!(log.produce_batch(batch).await.unwrap_err().kind(), ErrorKind::BatchTooLarge { .. }));
    assert_eq!((first.await.unwrap().base_offset, second.await.unwrap().base_offset), (0, 1));
    let sequences: Vec<_> = batches(&cluster).iter().map(|batch| batch.header().base_sequence).collect();
    assert_eq!(sequences, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn batches_are_compressed_as_the_options_say() {
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs.into_iter().filter(|codec| codec.is_supported()) {
        let (cluster, client, _) = start(1).await;
        let mut made = client.partition_client(TOPIC, 0).compression(codec);
        if let Some(levels) = codec.levels() {
            let error = client.partition_client(TOPIC, 0).compression(codec);
            let error = error.compression_level(levels.end() + 1).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
            made = made.compression_level(*levels.end());
        }
        if profile() == Profile::EventHubs && codec != Compression::Gzip {
            continue;
        }
        let log = made.await.unwrap();
        cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE).times(2));
        let produced = log.produce([record("x".repeat(10_000))]).await.unwrap();
        assert!(produced.encoded_size < 1_000, "{codec:?}: {produced:?}");
        assert_eq!(batches(&cluster)[0].compression(), codec);
        assert_eq!(values(&read_all(&log).await), ["x".repeat(10_000)]);
    }
}

#[tokio::test(start_paused = true)]
async fn options_that_contradict_each_other_are_refused() {
    let (_cluster, client, _) = start(1).await;
    let made = || client.partition_client(TOPIC, 0);
    for builder in [made().max_in_flight(0), made().max_in_flight(6), made().acks(Acks::Leader)] {
        let error = builder.await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
    }
    for name in ["", ".", "..", "a b", &"x".repeat(250)] {
        let error = client.partition_client(name, 0).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
    }
    let old =
        Record { timestamp: time::OffsetDateTime::UNIX_EPOCH - Duration::from_secs(1), ..record("old") };
    let error = made().await.unwrap().produce([old]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
    made().acks(Acks::Leader).idempotence(false).await.unwrap();
    let one =
        made().max_in_flight(1).delivery_timeout(Duration::from_secs(1)).buffer_memory(10).await.unwrap();
    one.produce([record("one")]).await.unwrap();
    assert_eq!(values(&read_all(&one).await), ["one"]);
}
