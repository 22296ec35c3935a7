//! The exclusive log: one writer at a time, on every cluster.

use futures_util::{StreamExt as _, TryStreamExt as _};
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{Client, DurabilityKind, PartitionClient};
use rskafka::protocol::ErrorCode;
use rskafka::wal::{Dead, Item, Position, Wal, Writer};
use rskafka_verifier::proxy::BrokerProcess;
use tokio::time::timeout;

use super::examples::Process;
use super::{Brokers, PATIENCE, new_log, new_topic, record, served};

/// What the settings of a test's topic lack.
pub const RISKS: [DurabilityKind; 6] = [
    DurabilityKind::OneReplica,
    DurabilityKind::MinInsyncTooLow,
    DurabilityKind::UncleanElection,
    DurabilityKind::NotTold,
    DurabilityKind::RetentionMs,
    DurabilityKind::WritersTimes,
];

pub async fn wal(client: &Client, topic: &str) -> Wal {
    client.wal(topic, 0).accept_risks(RISKS).await.unwrap()
}

async fn new_wal(brokers: &Brokers, case: &str) -> (PartitionClient, Wal) {
    let (client, log) = new_log(brokers, case).await;
    let wal = wal(&client, log.topic()).await;
    (log, wal)
}

/// Claims the log, and gives the values of what was read before.
pub async fn claim(wal: &Wal, position: Position, note: &'static str) -> (Writer, Vec<String>) {
    let mut recovery = wal.claim(position, note).await.unwrap();
    let mut values = Vec::new();
    while let Some(entry) = timeout(PATIENCE, recovery.try_next()).await.unwrap().unwrap() {
        values.extend(entry.into_records().map(value));
    }
    (recovery.into_writer().unwrap(), values)
}

fn value<E: std::fmt::Debug>(read: Result<rskafka::record::RecordAndOffset, E>) -> String {
    let record = read.unwrap().record;
    assert!(record.headers.is_empty(), "the log's own header is taken off");
    String::from_utf8(record.value.unwrap().to_vec()).unwrap()
}

/// All values that count, from a position up to an offset.
pub async fn read(wal: &Wal, position: Position, until: i64) -> Vec<String> {
    let reader = wal.read(position).until(until).build();
    let entries: Vec<_> = timeout(PATIENCE, reader.try_collect()).await.expect("it does not end").unwrap();
    entries.into_iter().flat_map(rskafka::wal::Entry::into_records).map(value).collect()
}

pub async fn two_writers_take_the_log_from_each_other(brokers: Brokers) {
    let (_, wal) = new_wal(&brokers, "duel").await;
    let (first, read_before) = claim(&wal, Position::START, "first").await;
    assert_eq!((read_before.len(), first.claim().term, first.claim().offset), (0, 1, 0));
    let a = first.append([record("a"), record("b")]).await.unwrap();
    let c = first.append([record("c")]).await.unwrap();
    assert_eq!((a.offsets.clone(), c.offsets.clone()), (1..3, 3..4));
    let (second, read_before) = claim(&wal, Position::START, "second").await;
    assert_eq!((read_before, second.claim().term), (vec!["a".into(), "b".into(), "c".into()], 2));
    // Two at once: both are dead.
    let late = [first.append([record("late")]), first.append([record("later")])];
    for late in late {
        let error = late.await.unwrap_err();
        let fenced = ErrorKind::Fenced { term: 2, offset: 4, note: "second".into() };
        assert_eq!((error.kind(), error.outcome()), (&fenced, Outcome::NotWritten), "{error:?}");
    }
    let error = first.append([record("refused")]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Fenced { term: 2, .. }), "{error:?}");
    let d = second.append([record("d")]).await.unwrap();
    // What is stored continues where it was.
    let stored: Position = c.position.to_string().parse().unwrap();
    let stored = Position::from_bytes(&stored.to_bytes()).unwrap();
    let (third, read_before) = claim(&wal, stored, "third").await;
    assert_eq!((read_before, third.claim().term), (vec!["d".to_owned()], 3));
    assert!(matches!(
        second.append([record("e")]).await.unwrap_err().kind(),
        ErrorKind::Fenced { term: 3, .. }
    ));
    assert_eq!(read(&wal, a.position, d.offsets.end).await, ["c", "d"]);
    assert_eq!(read(&wal, Position::START, d.offsets.end).await, ["a", "b", "c", "d"]);
}

pub async fn appends_are_pipelined_and_counted_in_the_order_of_the_calls(brokers: Brokers) {
    let (_, wal) = new_wal(&brokers, "pipelined").await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let appends: Vec<_> = (0..100).map(|number| writer.append([record(number.to_string())])).collect();
    assert_eq!(appends[99].sequence(), Some(100));
    let mut ends = Vec::new();
    for append in appends {
        ends.push(append.await.unwrap().offsets.end);
    }
    assert_eq!(ends, (2..102).collect::<Vec<_>>());
    // A dropped future's append goes on.
    drop(writer.append([record("dropped")]));
    let position = writer.barrier().await.unwrap();
    assert_eq!((position, position.offset()), (writer.position(), 103));
    let values = read(&wal, Position::START, 103).await;
    assert_eq!(values.len(), 101);
    assert_eq!((&*values[0], &*values[99], &*values[100]), ("0", "99", "dropped"));
}

pub async fn what_others_append_is_passed_over(brokers: Brokers) {
    let (log, wal) = new_wal(&brokers, "foreign").await;
    log.produce([record("before")]).await.unwrap();
    let (first, read_before) = claim(&wal, Position::START, "first").await;
    assert!(read_before.is_empty());
    log.produce([record("foreign")]).await.unwrap();
    let one = first.append([record("one")]).await.unwrap();
    let foreign: Vec<_> = (0..5).map(|_| log.produce([record("foreign")])).collect();
    let more: Vec<_> = (0..5).map(|number| first.append([record(number.to_string())])).collect();
    for more in more {
        more.await.unwrap();
    }
    for foreign in foreign {
        foreign.await.unwrap();
    }
    let (second, read_before) = claim(&wal, one.position, "second").await;
    assert_eq!(read_before, ["0", "1", "2", "3", "4"]);
    assert!(first.append([record("late")]).await.is_err());
    let end = second.append([record("end")]).await.unwrap().offsets.end;
    let items = wal.read(Position::START).until(end).build_items();
    let items: Vec<_> = items.try_collect().await.unwrap();
    let count = |is: fn(&Item) -> bool| items.iter().filter(|item| is(item)).count();
    assert_eq!(count(|item| matches!(item, Item::PassedOver { dead: None, .. })), 7);
    assert_eq!(count(|item| matches!(item, Item::PassedOver { dead: Some(Dead::OlderTerm), .. })), 1);
    assert_eq!(count(|item| matches!(item, Item::Claim(claim) if claim.note == "first")), 1);
    assert_eq!(count(|item| matches!(item, Item::Entry(_))), 7);
}

pub async fn a_standby_claims_what_it_has_followed_and_an_idle_owner_learns_it(brokers: Brokers) {
    let (_, wal) = new_wal(&brokers, "standby").await;
    let (owner, _) = claim(&wal, Position::START, "owner").await;
    let mut standby = wal.read(Position::START).build();
    owner.append([record("one")]).await.unwrap();
    let entry = timeout(PATIENCE, standby.try_next()).await.unwrap().unwrap().unwrap();
    assert_eq!((entry.term(), entry.sequence(), entry.offsets()), (1, 1, 1..2));
    let two = owner.append([record("two")]).await.unwrap();
    let watch = async { timeout(PATIENCE, owner.fenced()).await.unwrap().unwrap() };
    let take_over = async {
        let mut recovery = standby.claim("standby").await.unwrap();
        let entries: Vec<_> = recovery.by_ref().try_collect().await.unwrap();
        let ends: Vec<_> = entries.iter().map(|entry| entry.position().offset()).collect();
        assert_eq!(ends, [two.position.offset()]);
        recovery.into_writer().unwrap()
    };
    let (claim, writer) = tokio::join!(watch, take_over);
    assert_eq!((claim.term, &*claim.note, &claim), (2, &b"standby"[..], writer.claim()));
    assert!(matches!(
        owner.append([record("late")]).await.unwrap_err().kind(),
        ErrorKind::Fenced { term: 2, .. }
    ));
}

pub async fn a_reclaim_says_whether_the_log_is_still_ours(brokers: Brokers) {
    let (_, wal) = new_wal(&brokers, "reclaim").await;
    let (mut first, _) = claim(&wal, Position::START, "first").await;
    first.append([record("one")]).await.unwrap();
    let reclaimed = first.reclaim("first again").await.unwrap();
    assert!(reclaimed.fenced_by.is_none() && reclaimed.settled.is_empty());
    assert_eq!(first.claim().term, 2);
    first.append([record("two")]).await.unwrap();
    let (second, read_before) = claim(&wal, Position::START, "second").await;
    assert_eq!(read_before, ["one", "two"]);
    let reclaimed = first.reclaim("first").await.unwrap();
    assert_eq!(reclaimed.fenced_by.as_ref(), Some(second.claim()));
    assert!(matches!(
        first.append([record("x")]).await.unwrap_err().kind(),
        ErrorKind::Fenced { term: 3, .. }
    ));
    second.append([record("three")]).await.unwrap();
}

pub async fn what_was_trimmed_is_gone_and_the_start_is_refused(brokers: Brokers) {
    let (_, wal) = new_wal(&brokers, "trim").await;
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let one = writer.append([record("one")]).await.unwrap();
    let two = writer.append([record("two")]).await.unwrap();
    assert!(one.position.is_before(&two.position));
    match writer.trim(&one.position).await {
        Ok(start) => assert_eq!(start, one.position.offset()),
        // Event Hubs.
        Err(error) => return assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error:?}"),
    }
    assert_eq!(read(&wal, one.position, two.offsets.end).await, ["two"]);
    let mut recovery = wal.claim(Position::START, "late").await.unwrap();
    let error = recovery.try_next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OffsetOutOfRange { offset: 0, log_start: 2, .. }), "{error:?}");
    assert!(recovery.into_writer().is_err());
    writer.append([record("three")]).await.unwrap();
}

pub async fn what_makes_no_sense_is_refused_at_once(brokers: Brokers) {
    let (client, log) = new_log(&brokers, "sense").await;
    let wal = client.wal(log.topic(), 0).max_request_bytes(1_000).accept_risks(RISKS).await.unwrap();
    let (writer, _) = claim(&wal, Position::START, "writer").await;
    let reserved = record("x").with_headers(vec![("rskafka.wal", "x")]);
    let error = writer.append([record("fine").with_headers(vec![]), reserved]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error:?}");
    let error = writer.append(Vec::<rskafka::record::Record>::new()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error:?}");
    let large = writer.append([record("x".repeat(2_000))]);
    assert_eq!(large.sequence(), None);
    assert!(matches!(large.await.unwrap_err().kind(), ErrorKind::BatchTooLarge { limit: 1_000, .. }));
    // The writer goes on.
    let fine = writer.append([record("fine")]).await.unwrap();
    assert_eq!((fine.offsets, fine.position.term()), (1..2, 1));
    let elsewhere = new_topic("elsewhere");
    client.create_topic(&elsewhere, 2, 1).await.unwrap();
    served(&client, &elsewhere, 1).await;
    let other = client.wal(&elsewhere, 1).await.unwrap();
    let error = other.read(fine.position).build().try_next().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::OtherTopic);
    assert_eq!(*other.claim(fine.position, "x").await.unwrap_err().kind(), ErrorKind::OtherTopic);
    let error = other.claim(Position::START, "x").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotDurable, "{error:?}");
    assert!(format!("{error:?}").contains("replication factor"), "{error:?}");
    let error = client.wal(&elsewhere, 7).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::UnknownTopicOrPartition);
    assert_eq!(error.code(), None::<ErrorCode>);
}

pub async fn every_codec_carries_an_exclusive_log(brokers: Brokers) {
    use rskafka::protocol::records::Compression;
    let (client, log) = new_log(&brokers, "codecs").await;
    let mut position = Position::START;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let wal = client.wal(log.topic(), 0).compression(codec).accept_risks(RISKS).await.unwrap();
        let (writer, read_before) = match wal.claim(position, codec.name()).await.unwrap().try_next().await {
            // Event Hubs takes gzip only.
            Err(error) if error.code() == Some(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE) => continue,
            // It was made; the next one reads it.
            claimed => {
                assert!(claimed.unwrap().is_none());
                claim(&wal, position, codec.name()).await
            }
        };
        assert!(read_before.is_empty());
        let long = "long ".repeat(100);
        let appended = writer.append((0..20).map(|_| record(&*long))).await.unwrap();
        assert!(appended.encoded_size < 1_500);
        assert_eq!(read(&wal, position, appended.offsets.end).await.concat(), long.repeat(20));
        position = appended.position;
    }
}

pub async fn what_a_process_sends_that_stood_still_over_another_claim_is_dead(brokers: Brokers) {
    let client = Client::new_plain(brokers.clone()).await.unwrap();
    let topic = new_topic("processes");
    let mut first = Process::start("exclusive", &[&brokers[0], &topic, "first"]);
    assert!(first.line("claimed").await.ends_with("claimed term 1 after 0 entries"));
    let (log, wal) = (client.partition_client(&topic, 0).await.unwrap(), wal(&client, &topic).await);
    for number in 0..3 {
        assert!(first.line("appended").await.ends_with(&format!("first {number}")));
    }
    let stopped = BrokerProcess::with_pid(first.child.id().unwrap()).unwrap().stop().await.unwrap();
    let mut second = Process::start("exclusive", &[&brokers[0], &topic, "second", "3"]);
    for number in 0..3 {
        assert!(second.line("read").await.ends_with(&format!("first {number}")));
    }
    assert!(second.line("claimed").await.starts_with("claimed term 2 after "));
    second.line("appended").await;
    drop(stopped);
    let ended = first.line("ended").await;
    assert!(
        ended.contains("another writer has claimed the log, in term 2") && ended.contains("second"),
        "{ended}"
    );
    let late = ended.split(' ').take(3).last().unwrap().trim_end_matches(':');
    second.end().await.succeeded();
    first.end().await.succeeded();

    let end = log.get_offset(rskafka::client::OffsetAt::Latest).await.unwrap().offset;
    let values = read(&wal, Position::START, end).await;
    let expected = (0..late.parse().unwrap()).map(|number| format!("first {number}"));
    assert_eq!(values, expected.chain((0..3).map(|number| format!("second {number}"))).collect::<Vec<_>>());
    let items: Vec<_> = wal.read(Position::START).until(end).build_items().try_collect().await.unwrap();
    let dead =
        items.iter().filter(|item| matches!(item, Item::PassedOver { dead: Some(Dead::OlderTerm), .. }));
    assert_eq!(dead.count(), 1);
}
