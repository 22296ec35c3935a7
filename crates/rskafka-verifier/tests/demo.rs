//! The demo from end to end, on an embedded cluster.

use std::future::pending;

use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault};
use rskafka_verifier::demo::{Interrupted, Options, run};
use rskafka_verifier::findings::Kind;
use rskafka_verifier::report::Report;
use rskafka_verifier::tamper::Tampering;

const RECORDS: u64 = 20_000;

async fn demo(tampering: Option<Tampering>) -> Report {
    run(Options { records: RECORDS, tampering, ..Options::default() }, pending()).await.unwrap()
}

async fn assert_found(tampering: Tampering, kind: Kind, count: u64) {
    let report = demo(Some(tampering)).await;
    assert!(!report.is_verified());
    let (_, offset) = report.tampered.unwrap();
    assert_eq!(offset, RECORDS as i64 / 2);
    let findings = &report.verdict.findings;
    assert_eq!(findings.count(kind), count, "{report}");
    assert_eq!(findings.first(kind).unwrap().offsets.start, offset);
    assert!(findings.iter().all(|finding| finding.kind == kind), "{report}");
    let text = report.to_string();
    assert!(text.contains(&format!("{kind}: offset {offset}: ")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("FAILED: 20000 records, "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_of_an_honest_cluster_is_verified() {
    let report = demo(None).await;
    assert!(report.is_verified(), "{report}");
    assert_eq!(report.verdict.verified, RECORDS);
    assert_eq!((report.appended.records, report.read.records), (RECORDS, RECORDS));
    assert_eq!(report.appended.bytes, report.read.bytes);
    assert_eq!(report.digest.records, RECORDS);
    assert!(report.to_string().ends_with("verified: 20000 records, 0 lost, 0 duplicated, 0 reordered\n"));
    assert!(report.fields().starts_with(&format!("topic={}\npartition=0\nrecords=20000\n", report.topic)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_record_is_verified_too() {
    let report = run(Options { records: 1, ..Options::default() }, pending()).await.unwrap();
    assert!(report.is_verified(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_record_is_found() {
    assert_found(Tampering::Lose, Kind::Lost, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_record_is_found() {
    assert_found(Tampering::Repeat, Kind::Duplicated, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_swapped_records_are_found() {
    assert_found(Tampering::Swap, Kind::Reordered, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found() {
    assert_found(Tampering::Flip, Kind::Corrupted, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_ends_at_once() {
    let since = std::time::Instant::now();
    let interrupted = tokio::time::sleep(std::time::Duration::from_millis(50));
    let options = Options { records: 1_000_000_000, ..Options::default() };
    let error = run(options, interrupted).await.unwrap_err();
    assert!(error.is::<Interrupted>());
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
    let report = run(Options { bootstrap, records: RECORDS, ..Options::default() }, pending()).await.unwrap();
    assert_eq!(cluster.struck(fault), 1);
    cluster.shutdown().await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_append_fails_the_demo_but_not_the_log() {
    let report = demo_with(Fault::answer(ErrorCode::INVALID_RECORD)).await;
    assert!(!report.is_verified());
    assert!(report.verdict.is_clean(), "{report}");
    assert_eq!(report.verdict.verified, report.appended.records);
    assert_eq!(report.read.records, report.appended.records);
    assert!(report.to_string().contains("append failed: "), "{report}");
    assert!(report.failure.unwrap().contains("INVALID_RECORD"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_without_an_answer_fails_the_demo_but_not_the_log() {
    let report = demo_with(Fault::close().after_applying()).await;
    assert!(!report.is_verified());
    assert!(report.verdict.is_clean(), "{report}");
    assert_eq!(report.verdict.verified, report.appended.records);
    assert!(report.read.records > report.appended.records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_what_it_has_written_is_found_out() {
    let report = demo_with(Fault::answer(ErrorCode::INVALID_RECORD).after_applying()).await;
    let findings = &report.verdict.findings;
    assert_eq!(findings.count(Kind::NotWritten), 1_000, "{report}");
    assert_eq!(findings.first(Kind::NotWritten).unwrap().offsets.start, 3_000);
    assert!(findings.iter().all(|finding| finding.kind == Kind::NotWritten), "{report}");
}
