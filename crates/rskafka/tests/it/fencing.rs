//! The exclusive log under faults: what is acknowledged counts once, and what is unknown is settled by the next claim.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, PartitionClient};
use rskafka::fake::FakeClusterExt;
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::Record;
use rskafka::wal::{Append, Position, Wal, Writer};
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::{Instant, sleep};

use super::common::exclusive::{RISKS, claim, read, wal};
use super::common::guide::going_on::as_the_guide_appends;
use super::common::{SLACK, record};
use super::kit::{DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TOPIC, builder, start};

async fn start_wal(brokers: usize) -> (FakeCluster, Client, PartitionClient, Wal) {
    let (cluster, client, log) = start(brokers).await;
    let wal = wal(&client, TOPIC).await;
    (cluster, client, log, wal)
}

async fn values(wal: &Wal, log: &PartitionClient) -> Vec<String> {
    let end = log.get_offset(rskafka::client::OffsetAt::Latest).await.unwrap().offset;
    read(wal, Position::START, end).await
}

/// An exclusive log of a client that can be cut off from the brokers.
async fn zombie(cluster: &FakeCluster) -> Wal {
    let network = cluster.clone();
    let connect = move |host: String, port: u16| {
        let network = network.clone();
        async move { network.connect_as("zombie", &host, port).await }
    };
    let env = cluster.env_builder().connector(connect).random_seed(9).build();
    wal(&builder(cluster).env(env).build().await.unwrap(), TOPIC).await
}

fn produces(cluster: &FakeCluster) -> usize {
    cluster.requests().iter().filter(|request| request.api_key == ApiKey::PRODUCE).count()
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_made_up_for() {
    let (cluster, _, log, wal) = start_wal(3).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    for after in [false, true] {
        let fault = Fault::close().on(ApiKey::PRODUCE);
        cluster.inject(if after { fault.after_applying() } else { fault.before_applying() });
        let appends = ["a", "b", "c"].map(|value| writer.append([record(value)]));
        for append in appends {
            append.await.unwrap();
        }
    }
    assert_eq!(values(&wal, &log).await.concat(), "abcabc");
}

#[tokio::test(start_paused = true)]
async fn a_claim_on_a_log_that_is_read_takes_a_fetch_and_a_produce() {
    let (cluster, _, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "first").await;
    let position = writer.append([record("a")]).await.unwrap().position;
    let recovery = wal.claim(position, "second").await.unwrap();
    let fetch_lane_is_new = cluster.requests().len();
    let _ = recovery.try_collect::<Vec<_>>().await.unwrap();
    let made: Vec<_> = cluster.requests().split_off(fetch_lane_is_new);
    let count = |api| made.iter().filter(|request| request.api_key == api).count();
    // The second fetch waits at the end meanwhile, and nobody waits for it.
    assert!(count(ApiKey::FETCH) <= 2 && count(ApiKey::PRODUCE) == 1, "{made:?}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_brokers_have_forgotten_loses_nothing() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    for round in 0..5 {
        cluster.forget_producers(TOPIC, 0).unwrap();
        if round % 2 == 0 {
            cluster.inject(Fault::close().on(ApiKey::PRODUCE).after_applying());
        }
        let appends = ["a", "b", "c", "d"].map(|value| writer.append([record(value)]));
        if round % 2 == 0 {
            sleep(Duration::from_millis(1)).await;
            cluster.forget_producers(TOPIC, 0).unwrap();
        }
        for append in appends {
            append.await.unwrap();
        }
    }
    assert_eq!(values(&wal, &log).await.concat(), "abcd".repeat(5));
}

#[tokio::test(start_paused = true)]
async fn what_lands_out_of_turn_is_sent_again_as_a_new_batch() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    // From a producer that it does not know, a broker takes "c" without "b".
    cluster.forget_producers(TOPIC, 0).unwrap();
    cluster.inject(Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE));
    for append in ["b", "c"].map(|value| writer.append([record(value)])) {
        append.await.unwrap();
    }
    let in_log = cluster.log(TOPIC, 0).unwrap().values().unwrap();
    assert_eq!(in_log.iter().filter(|value| *value == "c").count(), 2, "{in_log:?}");
    assert_eq!(values(&wal, &log).await.concat(), "abc");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_good_ends_the_writer_and_a_reclaim_goes_on() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (mut writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    cluster.inject(Fault::answer(ErrorCode::MESSAGE_TOO_LARGE).on(ApiKey::PRODUCE));
    let [b, c] = ["b", "c"].map(|value| writer.append([record(value)]));
    let error = b.await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::MESSAGE_TOO_LARGE), Outcome::NotWritten));
    let error = c.await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotWritten, "{error:?}");
    let error = writer.append([record("d")]).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Stopped, Outcome::NotWritten));
    let reclaimed = writer.reclaim("again").await.unwrap();
    assert!(reclaimed.settled.is_empty() && reclaimed.fenced_by.is_none());
    writer.append([record("e")]).await.unwrap();
    assert_eq!(values(&wal, &log).await, ["a", "e"]);
}

/// A writer whose appends of these values got no answer in time.
async fn out_of_time(cluster: &FakeCluster, wal: &Wal, applied: bool) -> Writer {
    let (writer, _) = claim(wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    let fault = Fault::swallow().on(ApiKey::PRODUCE).always();
    let fault = cluster.inject(if applied { fault.after_applying() } else { fault.before_applying() });
    let started = Instant::now();
    let appends: Vec<_> = (0..20).map(|number| writer.append([record(number.to_string())])).collect();
    let mut outcomes = Vec::new();
    for append in appends {
        outcomes.push(append.await.unwrap_err().outcome());
    }
    assert!(started.elapsed() <= DELIVERY_TIMEOUT + SLACK, "{:?}", started.elapsed());
    assert_eq!(outcomes[0], Outcome::Unknown);
    assert_eq!(outcomes[19], Outcome::NotWritten, "it was never sent");
    assert!(outcomes.is_sorted_by_key(|outcome| *outcome == Outcome::NotWritten), "{outcomes:?}");
    cluster.remove_fault(fault);
    writer
}

#[tokio::test(start_paused = true)]
async fn a_reclaim_settles_what_was_unknown() {
    for applied in [true, false] {
        let (cluster, _, log, wal) = start_wal(1).await;
        let mut writer = out_of_time(&cluster, &wal, applied).await;
        let reclaimed = writer.reclaim("again").await.unwrap();
        assert!(reclaimed.fenced_by.is_none() && !reclaimed.settled.is_empty());
        // The append of "a" has sequence 1, that of "0" has 2.
        for (sequence, appended) in &reclaimed.settled {
            assert_eq!(appended.is_some(), applied, "{sequence}");
            let offset = appended.as_ref().map(|appended| appended.offsets.start);
            assert!(offset.is_none_or(|offset| offset == *sequence as i64));
        }
        writer.append([record("z")]).await.unwrap();
        let expected = if applied { reclaimed.settled.len() } else { 0 };
        let values = values(&wal, &log).await;
        assert_eq!((values.len(), &*values[0], &**values.last().unwrap()), (2 + expected, "a", "z"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_close_wait_for_what_is_under_way() {
    let (_cluster, _, _log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let append = writer.append([record("a")]);
    let flushes = async { tokio::join!(writer.flush(), writer.flush()) };
    tokio::time::timeout(SLACK, flushes).await.expect("both are told");
    assert!(append.now_or_never().unwrap().is_ok());
    let append = writer.append([record("b")]);
    tokio::time::timeout(SLACK, writer.close()).await.expect("it is told");
    assert!(append.now_or_never().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_guides_loop_writes_each_batch_once_when_no_answers_come() {
    const VALUES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    for applied in [true, false] {
        let (cluster, _, log, wal) = start_wal(1).await;
        let (mut writer, _) = claim(&wal, Position::START, "writer").await;
        let fault = Fault::swallow().on(ApiKey::PRODUCE).always();
        let fault = cluster.inject(if applied { fault.after_applying() } else { fault.before_applying() });
        let heals = async {
            // The first claim to take the log again gets no answer either.
            sleep(DELIVERY_TIMEOUT * 3 / 2).await;
            cluster.remove_fault(fault);
        };
        let ((done, ended), ()) = tokio::join!(as_the_guide_appends(&mut writer, &VALUES), heals);
        assert!(done.len() == VALUES.len() && ended.unwrap().is_none(), "{done:?}");
        assert!(done.is_sorted_by_key(|appended| appended.offsets.start), "{done:?}");
        assert_eq!(values(&wal, &log).await, VALUES);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_frozen_writer_sends_late_is_dead() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&zombie(&cluster).await, Position::START, "zombie").await;
    writer.append([record("a")]).await.unwrap();
    cluster.isolate_client("zombie", 1).unwrap();
    let late = [writer.append([record("late")]), writer.append([record("later")])];
    sleep(Duration::from_millis(100)).await;
    let (second, read_before) = claim(&wal, Position::START, "second").await;
    assert_eq!(read_before, ["a"]);
    second.append([record("b")]).await.unwrap();
    cluster.rejoin_broker(1).unwrap();
    for late in late {
        let error = late.await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Fenced { term: 2, .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotWritten);
    }
    second.append([record("c")]).await.unwrap();
    assert_eq!(values(&wal, &log).await, ["a", "b", "c"]);
    assert_eq!(
        cluster.log(TOPIC, 0).unwrap().values().unwrap().iter().filter(|value| *value == "late").count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_claims_at_once_one_is_lost_and_made_again() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let mut late = wal.claim(Position::START, "late").await.unwrap();
    // It is sent again when its time is over.
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let losing = async { late.try_next().await };
    let winning = async {
        sleep(Duration::from_millis(100)).await;
        let (winner, _) = claim(&wal, Position::START, "winner").await;
        winner.append([record("a")]).await.unwrap();
        winner
    };
    let (lost, winner) = tokio::join!(losing, winning);
    let error = lost.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ClaimLost { term: 1, offset: 0, note } if note == "winner"),
        "{error:?}"
    );
    let entries: Vec<_> = late.by_ref().try_collect().await.unwrap();
    assert_eq!(entries.len(), 1);
    let late = late.into_writer().unwrap();
    assert_eq!(late.claim().term, 2);
    late.append([record("b")]).await.unwrap();
    assert!(winner.append([record("c")]).await.is_err());
    assert_eq!(values(&wal, &log).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_an_exclusive_log_can_be_spawned() {
    let (_, _, log, wal) = start_wal(1).await;
    let standby = wal.read(Position::START).build();
    let claim = async move { standby.claim("first").await?.try_collect::<Vec<_>>().await };
    assert!(tokio::spawn(claim).await.unwrap().unwrap().is_empty());
    let of_task = wal.clone();
    let task = tokio::spawn(async move {
        let mut recovery = of_task.claim(Position::START, "second").await.unwrap();
        assert!(recovery.try_next().await.unwrap().is_none());
        let mut writer = recovery.into_writer().unwrap();
        writer.append([record("a")]).await.unwrap();
        writer.reclaim("again").await.unwrap().fenced_by.is_none() && writer.barrier().await.is_ok()
    });
    assert!(task.await.unwrap());
    assert_eq!(values(&wal, &log).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_log_survives_its_leaders() {
    let (cluster, _, log, wal) = start_wal(3).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    for round in 0..10 {
        let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
        let appends: Vec<_> =
            (0..7).map(|number| writer.append([record(format!("{round}.{number}"))])).collect();
        cluster.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
        for append in appends {
            append.await.unwrap();
        }
    }
    let expected: Vec<_> = (0..70).map(|number| format!("{}.{}", number / 7, number % 7)).collect();
    assert_eq!(values(&wal, &log).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_recovered_over_several_connections() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let large = "x".repeat(300_000);
    for number in 0..120 {
        if number % 10 == 0 {
            log.produce([record("foreign")]).await.unwrap();
        }
        writer.append([record(format!("{number}")), record(&*large), record(&*large)]).await.unwrap();
    }
    cluster.clear_requests();
    let (_, values) = claim(&wal, Position::START, "second").await;
    let numbers: Vec<_> = values.iter().filter(|value| value.len() < 5).cloned().collect();
    assert_eq!(numbers, (0..120).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(values.len(), 360);
    let fetches = cluster.requests().into_iter().filter(|request| request.api_key == ApiKey::FETCH);
    let connections: std::collections::BTreeSet<_> = fetches.map(|request| request.connection).collect();
    assert!(connections.len() >= 4, "{connections:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recovery_tells_how_far_it_is_and_how_fast() {
    let (cluster, _client, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "first").await;
    for number in 0..9 {
        writer.append([record(number.to_string())]).await.unwrap();
    }
    cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::FETCH).always());
    let mut recovery = wal.claim(Position::START, "second").await.unwrap();
    let progress = recovery.progress();
    assert_eq!((progress.offsets_read, progress.offsets_left, progress.offsets_per_second), (0, None, 0));
    for _ in 0..8 {
        recovery.try_next().await.unwrap().unwrap();
    }
    // The claim and eight entries, in the time of one fetch; an entry is left.
    let progress = recovery.progress();
    assert_eq!((progress.offsets_read, progress.offsets_left, progress.offsets_per_second), (9, Some(1), 4));
}

#[tokio::test(start_paused = true)]
async fn appends_that_land_where_they_are_expected_read_nothing() {
    let (cluster, _, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    sleep(Duration::from_secs(2)).await;
    cluster.clear_requests();
    for number in 0..50 {
        writer.append([record(number.to_string())]).await.unwrap();
    }
    assert_eq!((cluster.requests().len(), produces(&cluster)), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn a_batch_under_our_key_that_nobody_can_judge_ends_reading() {
    let (_, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    let unknown_format = [vec![2], vec![0; 25]].concat();
    let future_term = [vec![1, 0], 9u64.to_be_bytes().to_vec(), vec![0; 16]].concat();
    let forged = [b"short".to_vec(), unknown_format, future_term].map(|header| vec![("rskafka.wal", header)]);
    let not_first = vec![("a", Vec::new()), ("rskafka.wal", [vec![1, 0], vec![0; 24]].concat())];
    for headers in forged.into_iter().chain([not_first]) {
        let forged = Record::new((), "forged", time::OffsetDateTime::now_utc());
        let offset = log.produce([forged.with_headers(headers)]).await.unwrap().base_offset;
        let position = Position::genesis(offset);
        let error = wal.read(position).build().try_next().await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::LogDamaged { offset: at, .. } if *at == offset),
            "{error:?}"
        );
    }
    let mut reader = wal.read(Position::START).build();
    assert_eq!(reader.try_next().await.unwrap().unwrap().records().count(), 1);
    let error = reader.try_next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LogDamaged { offset: 2, .. }), "{error:?}");
    assert!(reader.try_next().await.unwrap().is_none(), "it has ended");
    let mut recovery = wal.claim(Position::START, "next").await.unwrap();
    assert!(recovery.try_next().await.unwrap().is_some());
    let error = recovery.try_next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LogDamaged { offset: 2, .. }), "{error:?}");
    assert!(recovery.try_next().await.unwrap().is_none(), "it has ended");
    recovery.into_writer().unwrap_err();
    let error = writer.append([record("b")]).await.unwrap_err();
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::Unknown, false), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_append_without_an_answer_is_settled_although_another_has_the_log() {
    let (cluster, client, _, wal) = start_wal(1).await;
    let hasty = client.wal(TOPIC, 0).delivery_timeout(2 * SLACK).accept_risks(RISKS).await.unwrap();
    let (mut first, _) = claim(&hasty, Position::START, "first").await;
    cluster.inject(Fault::delay(Duration::from_secs(60)).on(ApiKey::PRODUCE).after_applying());
    let append = first.append([record("a")]);
    sleep(Duration::from_millis(10)).await;
    let (second, _) = claim(&wal, Position::START, "second").await;
    assert_eq!(first.fenced().await.unwrap(), *second.claim());
    // `Fenced` would say that it is not written.
    let error = append.await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown), "{error:?}");
    let reclaimed = first.reclaim("again").await.unwrap();
    assert_eq!(reclaimed.settled[&1].as_ref().unwrap().offsets, 1..2);
    assert_eq!(reclaimed.fenced_by.as_ref(), Some(second.claim()));
}

#[tokio::test(start_paused = true)]
async fn a_claim_under_way_when_reading_fails_may_count() {
    let (cluster, _, _, wal) = start_wal(1).await;
    let mut recovery = wal.claim(Position::START, "writer").await.unwrap();
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE).after_applying());
    cluster.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::FETCH).skip(1));
    let error = recovery.try_next().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED), "{error:?}");
    assert_eq!(
        (error.outcome(), cluster.log(TOPIC, 0).unwrap().values().unwrap().len()),
        (Outcome::Unknown, 1)
    );
    assert!(recovery.try_next().await.unwrap().is_none() && recovery.into_writer().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_append_ends_with_the_client() {
    let (_, client, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let append = writer.append([record("a")]);
    client.close().await;
    append.await.unwrap();
    assert_eq!(*writer.append([record("b")]).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_knows_that_it_is_fenced_does_not_take_the_log_back() {
    let (_, _, log, wal) = start_wal(1).await;
    let (mut first, _) = claim(&wal, Position::START, "first").await;
    first.append([record("a")]).await.unwrap();
    let (second, _) = claim(&wal, Position::START, "second").await;
    second.append([record("b")]).await.unwrap();
    assert!(matches!(first.append([record("late")]).await.unwrap_err().kind(), ErrorKind::Fenced { .. }));
    // It is known already: nobody waits for a third claim.
    assert_eq!(first.fenced().await.unwrap(), *second.claim());
    let reclaimed = first.reclaim("first").await.unwrap();
    assert_eq!(reclaimed.fenced_by.as_ref(), Some(second.claim()));
    second.append([record("c")]).await.unwrap();
    assert_eq!(values(&wal, &log).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_read_whole_where_the_reading_is_to_end_within_it() {
    let (_, _, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let appended = writer.append([record("a"), record("b")]).await.unwrap();
    writer.append([record("c")]).await.unwrap();
    let entries: Vec<_> = wal.read(Position::START).until(2).build().try_collect().await.unwrap();
    assert_eq!((entries.len(), entries[0].records().count(), entries[0].offsets()), (1, 2, 1..3));
    assert_eq!(entries[0].position().offset(), appended.position.offset());
    let error = wal.read(Position::START).until(2).build().claim("bounded").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_position_behind_a_claim_under_another_leader_continues() {
    let (cluster, _, _, wal) = start_wal(3).await;
    let (first, _) = claim(&wal, Position::START, "first").await;
    first.append([record("a")]).await.unwrap();
    let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, leader % 3 + 1).unwrap();
    let mut recovery = wal.claim(Position::START, "second").await.unwrap();
    while recovery.try_next().await.unwrap().is_some() {}
    let position = recovery.position();
    let writer = recovery.into_writer().unwrap();
    assert_eq!(position, writer.position());
    let end = writer.append([record("b")]).await.unwrap().offsets.end;
    assert_eq!(read(&wal, position, end).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_does_not_wait_at_the_end_of_the_log() {
    let (_, _, _, wal) = start_wal(1).await;
    for _ in 0..2 {
        let started = Instant::now();
        let _ = claim(&wal, Position::START, "writer").await;
        assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reclaim_that_was_dropped_is_taken_up_again() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (mut writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::PRODUCE));
    // The first one says where the log ends.
    cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::FETCH).skip(1));
    let dropped = tokio::time::timeout(Duration::from_secs(1), writer.reclaim("again")).await;
    assert!(dropped.is_err());
    sleep(Duration::from_secs(3)).await;
    let reclaimed = writer.reclaim("again").await.unwrap();
    assert!(reclaimed.fenced_by.is_none(), "{reclaimed:?}");
    writer.append([record("b")]).await.unwrap();
    assert_eq!((writer.claim().term, values(&wal, &log).await.concat()), (3, "ab".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_and_is_gone_ends_the_writer_for_good() {
    let (cluster, _, _, wal) = start_wal(3).await;
    let (mut writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    cluster.truncate(TOPIC, 0, 1).unwrap();
    let error = loop {
        if let Err(error) = writer.append([record("b")]).await {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::LogTruncated { .. }), "{error:?}");
    assert!(matches!(writer.reclaim("x").await.unwrap_err().kind(), ErrorKind::LogTruncated { .. }));
}

/// On several threads: a result that comes while somebody looks at the writer is not forgotten.
#[test]
fn no_result_is_lost_while_others_look_at_the_writer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let cluster = super::kit::fake().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        let (writer, _) = claim(&wal(&client, TOPIC).await, Position::START, "writer").await;
        let writer = std::sync::Arc::new(writer);
        let (looked, is_over) =
            (writer.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let over = is_over.clone();
        let looking = std::thread::spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::black_box(looked.position());
            }
        });
        for number in 0..3_000 {
            let append = writer.append([record(number.to_string())]);
            tokio::time::timeout(Duration::from_secs(10), append).await.expect("a lost result").unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        looking.join().unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_claims_nothing_and_says_where() {
    let (cluster, client, _, wal) = start_wal(1).await;
    let standby = wal.read(Position::START).build();
    client.close().await;
    let asked = cluster.requests().len();
    let errors = [wal.claim(Position::START, "x").await.err(), standby.claim("x").await.err()];
    for error in errors.map(Option::unwrap) {
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::NotWritten), "{error:?}");
        assert!(error.to_string().contains(&format!("topic {TOPIC} partition 0")), "{error}");
    }
    assert_eq!(cluster.requests().len(), asked);
}

/// A waker that appends at once, as an executor may do that runs its tasks inline.
struct Appending {
    writer: Writer,
    appends: std::sync::mpsc::SyncSender<Append>,
}

impl Wake for Appending {
    fn wake(self: Arc<Self>) {
        let _ = self.appends.try_send(self.writer.append([record("b")]));
    }
}

#[test]
fn a_caller_that_appends_while_it_is_woken_waits_for_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let (cluster, client, writer) = runtime.block_on(async {
        let cluster = super::kit::fake().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        let (writer, _) = claim(&wal(&client, TOPIC).await, Position::START, "writer").await;
        (cluster, client, writer)
    });
    cluster.inject(Fault::delay(Duration::from_secs(2)).on(ApiKey::PRODUCE));
    let (appends, appended) = std::sync::mpsc::sync_channel(2);
    let mut first = writer.append([record("a")]);
    let waker = Waker::from(Arc::new(Appending { writer, appends }));
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
    let Ok(second) = appended.recv_timeout(Duration::from_secs(10)) else {
        // The runtime's only thread is blocked by a lock that it holds itself, so dropping the runtime would never return.
        runtime.shutdown_background();
        panic!("a caller was woken under the writer's lock");
    };
    let results = runtime.block_on(async { tokio::join!(first, second) });
    assert_eq!((results.0.unwrap().offsets, results.1.unwrap().offsets), (1..2, 2..3));
    runtime.block_on(client.close());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_landed_behind_other_entries_gives_them_before_it_ends() {
    let (cluster, _, _, wal) = start_wal(1).await;
    let (owner, _) = claim(&wal, Position::START, "owner").await;
    owner.append([record("a")]).await.unwrap();
    let recovery = wal.claim(Position::START, "second").await.unwrap();
    // The claim is sent again behind an entry, and acknowledged before that is read.
    cluster.inject(Fault::close().on(ApiKey::PRODUCE));
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::FETCH).skip(1));
    let appending = async {
        sleep(Duration::from_millis(10)).await;
        owner.append([record("b")]).await.unwrap();
    };
    let (entries, ()) = tokio::join!(recovery.try_collect::<Vec<_>>(), appending);
    assert_eq!(entries.unwrap().len(), 2);
}

/// A broker that calls every producer overtaken.
fn refusing() -> Fault {
    Fault::answer(ErrorCode::PRODUCER_FENCED).on(ApiKey::PRODUCE)
}

#[tokio::test(start_paused = true)]
async fn what_fails_again_and_again_is_sent_again_with_pauses() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let next = wal.claim(Position::START, "next").await.unwrap();
    let fault = cluster.inject(refusing().always());
    let sent = produces(&cluster);
    let appends = ["a", "b", "c"].map(|value| writer.append([record(value)]));
    sleep(Duration::from_secs(3)).await;
    let of_appends = produces(&cluster) - sent;
    assert!((10..100).contains(&of_appends), "{of_appends} requests");
    cluster.remove_fault(fault);
    for append in appends {
        append.await.unwrap();
    }
    let (fault, sent) = (cluster.inject(refusing().always()), produces(&cluster));
    let next = tokio::spawn(next.try_collect::<Vec<_>>());
    sleep(Duration::from_secs(3)).await;
    let of_claims = produces(&cluster) - sent;
    assert!((5..50).contains(&of_claims), "{of_claims} requests");
    cluster.remove_fault(fault);
    assert_eq!(next.await.unwrap().unwrap().len(), 3);
    assert_eq!(values(&wal, &log).await.concat(), "abc");
}

#[tokio::test(start_paused = true)]
async fn an_append_that_waits_for_those_behind_it_ends_in_its_own_time() {
    let (cluster, ..) = start(1).await;
    let time = REQUEST_TIMEOUT + Duration::from_millis(200);
    let wal = wal(&builder(&cluster).delivery_timeout(time).build().await.unwrap(), TOPIC).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    let started = Instant::now();
    cluster.inject(refusing().delayed_by(REQUEST_TIMEOUT - Duration::from_millis(100)));
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let front = writer.append([record("b")]);
    sleep(REQUEST_TIMEOUT - Duration::from_millis(500)).await;
    // It gets no answer before the time of the one in front is over, which is to be sent again.
    let behind = writer.append([record("c")]);
    let error = front.await.unwrap_err();
    assert!(started.elapsed() <= time + SLACK, "{:?}: {error}", started.elapsed());
    assert!(error.is_timeout(), "{error:?}");
    assert!(behind.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_written_at_an_offset_that_nobody_tells_is_found_by_reading() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let untold = Fault::answer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER).on(ApiKey::PRODUCE).after_applying();
    let fault = cluster.inject(untold.clone().always());
    let sent = produces(&cluster);
    for (offset, append) in (1..).zip(["a", "b", "c"].map(|value| writer.append([record(value)]))) {
        assert_eq!(append.await.unwrap().offsets, offset..offset + 1);
    }
    assert_eq!(produces(&cluster) - sent, 3, "each was sent once");
    // Nor does a claim need its offset.
    let (second, read_before) = claim(&wal, Position::START, "second").await;
    assert_eq!(read_before.concat(), "abc");
    second.append([record("d")]).await.unwrap();
    cluster.remove_fault(fault);
    // It was written, and behind a claim.
    cluster.inject(untold);
    let error = writer.append([record("late")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Fenced { term: 2, .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotWritten);
    assert_eq!(values(&wal, &log).await.concat(), "abcd");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_acknowledged_beyond_the_log_ends_in_its_own_time() {
    let (cluster, _, _, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let position = writer.append([record("a")]).await.unwrap().position;
    let mut recovery = wal.claim(position, "next").await.unwrap();
    // The broker says that the claim is written, and it is not.
    cluster.inject(Fault::answer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    let started = Instant::now();
    let error = recovery.try_next().await.unwrap_err();
    assert!(started.elapsed() <= DELIVERY_TIMEOUT + SLACK, "{:?}", started.elapsed());
    assert_eq!((error.is_timeout() || error.code().is_some(), error.outcome()), (true, Outcome::Unknown));
    assert!(recovery.try_next().await.unwrap().is_none(), "it claims again");
    recovery.into_writer().unwrap().append([record("b")]).await.unwrap();
}

#[test]
fn an_append_that_is_read_for_ends_with_the_clients_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (cluster, writer) = runtime.block_on(async {
        let (cluster, _client, _, wal) = start_wal(1).await;
        let (writer, _) = claim(&wal, Position::START, "writer").await;
        (cluster, writer)
    });
    cluster.inject(Fault::answer(ErrorCode::DUPLICATE_SEQUENCE_NUMBER).on(ApiKey::PRODUCE));
    let append = {
        let _elsewhere = other.enter();
        writer.append([record("a")])
    };
    std::thread::sleep(Duration::from_millis(200));
    drop(runtime);
    let result = other.block_on(async { tokio::time::timeout(Duration::from_secs(5), append).await });
    let error = result.expect("it ends").unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::Unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn records_that_panic_hold_up_nobody() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let writer = std::sync::Arc::new(claim(&wal, Position::START, "writer").await.0);
    cluster.inject(Fault::delay(Duration::from_millis(100)).on(ApiKey::PRODUCE));
    let first = writer.append([record("a")]);
    let panicking = writer.clone();
    let panicked = tokio::task::spawn_blocking(move || {
        drop(panicking.append(std::iter::from_fn(|| -> Option<rskafka::record::Record> {
            // The answer to the first comes meanwhile, while this call has the writer's lock.
            std::thread::sleep(Duration::from_millis(500));
            panic!("no record")
        })));
    });
    assert!(panicked.await.unwrap_err().is_panic());
    tokio::time::timeout(Duration::from_secs(5), first).await.expect("it is settled").unwrap();
    writer.append([record("b")]).await.unwrap();
    assert_eq!(values(&wal, &log).await.concat(), "ab");
}

#[tokio::test(start_paused = true)]
async fn a_position_beyond_the_end_of_the_log_claims_nothing() {
    let (cluster, _, log, wal) = start_wal(1).await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    writer.append([record("a")]).await.unwrap();
    let before = produces(&cluster);
    let mut recovery = wal.claim(Position::genesis(1000), "next").await.unwrap();
    let error = recovery.try_next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { log_end: 2, .. }), "{error:?}");
    assert_eq!(produces(&cluster), before);
    assert_eq!(values(&wal, &log).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_beside_its_header_is_refused_at_once_and_the_writer_goes_on() {
    let (_cluster, client, log, _) = start_wal(1).await;
    let limited = client.partition_client(TOPIC, 0).max_request_bytes(1000).await.unwrap();
    let value = "v".repeat(900);
    limited.produce([record(value.clone())]).await.unwrap();
    let wal = client.wal(TOPIC, 0).max_request_bytes(1000).accept_risks(RISKS).await.unwrap();
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let append = writer.append([record(value)]);
    assert_eq!(append.sequence(), None);
    let error = append.await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BatchTooLarge { .. }), "{error:?}");
    writer.append([record("small")]).await.unwrap();
    assert_eq!(values(&wal, &log).await, ["small"]);
    let error = wal.claim(Position::START, "n".repeat(1000)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BatchTooLarge { .. }), "{error:?}");
}
