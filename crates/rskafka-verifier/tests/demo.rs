//! The demo from end to end, on an embedded cluster.

mod bug;

use std::future::pending;

use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault};
use rskafka_verifier::demo::{Options, run};
use rskafka_verifier::report::Report;
use rskafka_verifier::sim::Wrong;

use self::bug::Bug;

const RECORDS: u32 = 20_000;

async fn demo() -> Report {
    run(Options { records: RECORDS, ..Options::default() }, pending()).await.unwrap().unwrap()
}

/// The demo on a cluster with a bug.
async fn demo_of(bug: Bug) -> Report {
    let cluster = FakeCluster::builder().brokers(2).start().await.unwrap();
    bug.plant(&cluster);
    let bootstrap = cluster.bootstrap_servers();
    let report =
        run(Options { bootstrap, records: RECORDS, ..Options::default() }, pending()).await.unwrap().unwrap();
    cluster.shutdown().await;
    // The writer may notice by itself that something is lost.
    let is_loss = |failure: &String| failure.contains("the log was truncated: records are lost");
    assert!(!report.is_verified() && report.failure.as_ref().is_none_or(is_loss), "{report}");
    let text = report.to_string();
    assert!(text.lines().last().unwrap().starts_with("FAILED: 20000 records, "), "{text}");
    report
}

async fn assert_found(bug: Bug, wrong: Wrong, first: &str) {
    let report = demo_of(bug).await;
    let found = report.findings.iter().find(|finding| finding.wrong == wrong);
    let found = found.unwrap_or_else(|| panic!("{report}")).to_string();
    assert!(found.starts_with(first), "{report}");
    assert!(report.to_string().contains(&found), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_of_an_honest_cluster_is_verified() {
    let report = demo().await;
    assert!(report.is_verified(), "{report}");
    assert_eq!(report.faults, 3, "{report}");
    assert_eq!((report.appended.records, report.read.records), (RECORDS.into(), RECORDS.into()));
    assert_eq!(report.appended.bytes, report.read.bytes);
    assert_eq!(report.digest.len(), 64);
    assert!(report.to_string().ends_with("verified: 20000 records, 0 lost, 0 duplicated, 0 reordered\n"));
    assert!(report.fields().starts_with(&format!("topic={}\npartition=0\nrecords=20000\n", report.topic)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_record_is_verified_too() {
    let report = run(Options { records: 1, ..Options::default() }, pending()).await.unwrap().unwrap();
    assert!(report.is_verified(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_batch_is_found() {
    assert_found(
        Bug::LosesBatch,
        Wrong::Lost,
        "Lost: record 1000 of writer 0 was acknowledged at offset 1000",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_appended_twice_is_found() {
    let first = "Duplicated: offsets 1000 and 2000 both have record 1000";
    assert_found(Bug::AppendsTwice, Wrong::Duplicated, first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_swapped_batches_are_found() {
    let first = "Reordered: offset 2000 has record 1000 of writer 0, after record 2999";
    assert_found(Bug::SwapsTwo, Wrong::Reordered, first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_offset_in_an_acknowledgement_is_found() {
    let first = "Misplaced: record 1000 of writer 0 was acknowledged at offset 1001";
    assert_found(Bug::AnswersWrongOffset, Wrong::Misplaced, first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found() {
    let report = demo_of(Bug::FlipsBit).await;
    assert_eq!(report.counts, [(Wrong::Corrupted, 1)].into(), "{report}");
    assert!(report.findings[0].what.starts_with("offset 1999: "), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_ends_at_once() {
    let since = std::time::Instant::now();
    let interrupted = tokio::time::sleep(std::time::Duration::from_millis(50));
    let options = Options { records: 1_000_000_000, ..Options::default() };
    assert!(run(options, interrupted).await.unwrap().is_none());
    assert!(since.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn no_records_are_an_error_and_so_is_a_cluster_too_small_for_its_replicas() {
    let none = Options { records: 0, ..Options::default() };
    assert!(run(none, pending()).await.is_err());
    let too_many = Options { records: 1, replication_factor: Some(4), ..Options::default() };
    let error = run(too_many, pending()).await.unwrap_err();
    assert!(format!("{error:#}").contains("INVALID_REPLICATION_FACTOR"), "{error:#}");
}

/// The demo on a cluster where the fourth append goes wrong.
async fn demo_with(fault: Fault) -> Report {
    let cluster = FakeCluster::builder().brokers(2).start().await.unwrap();
    let fault = cluster.inject(fault.on(ApiKey::PRODUCE).skip(3));
    let bootstrap = cluster.bootstrap_servers();
    let report =
        run(Options { bootstrap, records: RECORDS, ..Options::default() }, pending()).await.unwrap().unwrap();
    assert_eq!(cluster.struck(fault), 1);
    cluster.shutdown().await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_append_fails_the_demo_but_not_the_log() {
    let report = demo_with(Fault::answer(ErrorCode::INVALID_RECORD)).await;
    assert!(!report.is_verified());
    assert!(report.counts.is_empty(), "{report}");
    assert_eq!(report.read.records, report.appended.records);
    assert!(report.to_string().contains("append failed: "), "{report}");
    assert!(report.failure.unwrap().contains("INVALID_RECORD"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_without_an_answer_is_made_again_and_is_there_once() {
    let report = demo_with(Fault::close().after_applying()).await;
    assert!(report.is_verified(), "{report}");
    assert_eq!((report.read.records, report.appended.records), (RECORDS.into(), RECORDS.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_what_it_has_written_is_found_out() {
    let report = demo_with(Fault::answer(ErrorCode::INVALID_RECORD).after_applying()).await;
    assert_eq!(report.counts, [(Wrong::NotWritten, 1_000)].into(), "{report}");
    assert!(report.findings[0].what.starts_with("offset 3000 "), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn afterwards_two_processes_take_an_exclusive_log_from_each_other_while_leaders_die() {
    let program = Some(env!("CARGO_BIN_EXE_rskafka-verifier").into());
    let options = Options { records: 1, exclusive_seconds: 9, program, ..Options::default() };
    let report = run(options, pending()).await.unwrap().unwrap();
    assert!(report.is_verified(), "{report}");
    let act = report.exclusive.as_ref().unwrap();
    let claims = act.claims.unwrap();
    assert!(claims.claims > 2 && claims.frozen > 0 && act.events.len() > 1, "{report}");
    let end = format!("{} claims, {} dead batches\n", claims.claims, claims.dead);
    assert!(report.to_string().ends_with(&end), "{report}");
}
