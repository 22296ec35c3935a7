//! Transactions that Kafka's own producer writes, as they are read here.

use std::collections::HashMap;
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rskafka::client::consumer::{IsolationLevel, StartAt};
use rskafka::client::{OffsetAt, PartitionClient};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::common::line::Line;
use crate::common::reads::{assert_read, collected, read_alike};
use crate::common::{Brokers, PATIENCE, new_log};
use crate::environment::{self, Environment};

/// Far more than a JVM needs to start and to write some hundred records, on a busy machine.
const JAVA_TIMEOUT: Duration = Duration::from_secs(120);
/// Readers that are held up are watched for so long.
const HELD_UP: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn what_java_commits_and_aborts_is_read_by_isolation() {
    environment::run(|environment, brokers| async move {
        let (client, log) = new_log(&brokers, "java-transactions").await;
        let mut java = Java::start(&environment, &brokers, log.topic());
        java.until("ended").await;
        let end = java.marked(&log).await;
        let (all, committed) = (java.records(), java.committed());
        // As many as its steps make; most were aborted, and no batch of theirs may be seen.
        assert!(all.len() > 200 && committed.len() > 50 && committed.len() < all.len() / 2, "{}", all.len());
        read_alike(&log, 0..end, IsolationLevel::ReadUncommitted, &all).await;
        read_alike(&log, 0..end, IsolationLevel::ReadCommitted, &committed).await;
        // Also from amid a transaction, and up to there.
        for start in 0..end {
            let read = log.stream(StartAt::Offset(start)).until(end).isolation(IsolationLevel::ReadCommitted);
            assert_read(collected(read.build()).await, start..end, &committed);
            let read = log.replay(0..start).isolation(IsolationLevel::ReadCommitted).connections(2);
            assert_read(collected(read.build()).await, 0..start, &committed);
        }
        println!("{end} offsets: {} records, {} of them to be read", all.len(), committed.len());
        client.delete_topic(log.topic()).await.unwrap();
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn an_open_transaction_of_java_holds_up_who_reads_what_is_committed() {
    environment::run(|environment, brokers| async move {
        let (client, log) = new_log(&brokers, "java-open").await;
        let mut java = Java::start(&environment, &brokers, log.topic());
        java.until("ended").await;
        for decision in ["aborted", "committed"] {
            let before = java.marked(&log).await;
            java.tell(decision).await;
            java.until("open").await;
            let end = java.marked(&log).await;
            let stable = java.first_undecided();
            assert!(before < stable && stable < end, "{before}, {stable}, {end}");
            held_up(&log, before..end, stable, &java).await;

            // What they have not read yet they read as soon as it is decided.
            let committed =
                |start| log.stream(StartAt::Offset(start)).isolation(IsolationLevel::ReadCommitted);
            let mut stream = committed(before).build();
            let seen: Vec<_> = read_for(HELD_UP, &mut stream).await;
            assert_read(seen, before..stable, &java.committed());
            assert_eq!((stream.is_caught_up(), stream.lag()), (true, Some(end - stable)), "{decision}");
            let replay = log.replay(before..end).isolation(IsolationLevel::ReadCommitted).build();
            let replay = tokio::spawn(replay.try_collect::<Vec<_>>());
            tokio::time::sleep(HELD_UP).await;
            assert!(!replay.is_finished(), "a replay is done with what is undecided");

            java.tell("go on").await;
            java.until("ended").await;
            let now = java.marked(&log).await;
            let decided = java.committed();
            let is_committed = decided.iter().any(|record| record.offset == stable);
            assert_eq!(is_committed, decision == "committed");
            let read = tokio::time::timeout(PATIENCE, replay).await.expect("the replay ends");
            assert_read(read.unwrap().unwrap(), before..end, &decided);
            let rest = read_for(HELD_UP, &mut stream).await;
            assert_read(rest, stable..now, &decided);
            assert_eq!((stream.is_caught_up(), stream.lag()), (true, Some(0)), "{decision}");
            let fetched = log.fetch(now).isolation(IsolationLevel::ReadCommitted).min_bytes(0).await.unwrap();
            assert_eq!((fetched.last_stable_offset(), fetched.high_watermark()), (Some(now), now));
            read_alike(&log, before..now, IsolationLevel::ReadUncommitted, &java.records()).await;
            read_alike(&log, before..now, IsolationLevel::ReadCommitted, &decided).await;
        }
        client.delete_topic(log.topic()).await.unwrap();
    });
}

/// Readers get no further than where the first undecided transaction begins, and say so; those of all records do.
async fn held_up(log: &PartitionClient, range: Range<i64>, stable: i64, java: &Java) {
    read_alike(log, range.start..stable, IsolationLevel::ReadCommitted, &java.committed()).await;
    read_alike(log, range.clone(), IsolationLevel::ReadUncommitted, &java.records()).await;
    for start in [stable, stable + 1, range.end - 1] {
        let fetch = log.fetch(start).isolation(IsolationLevel::ReadCommitted);
        let fetched = fetch.max_wait(Duration::from_millis(50)).await.unwrap();
        assert_eq!((fetched.last_stable_offset(), fetched.high_watermark()), (Some(stable), range.end));
        assert_eq!((fetched.batches().len(), fetched.next_offset()), (0, start), "from {start}");
    }
    let mut stream = log.stream(StartAt::Offset(range.start)).build();
    assert_read(read_for(HELD_UP, &mut stream).await, range.clone(), &java.records());
    assert_eq!((stream.is_caught_up(), stream.lag()), (true, Some(0)));
}

/// What comes in some time.
async fn read_for<S: futures_util::Stream<Item = rskafka::client::error::Result<T>> + Unpin, T>(
    time: Duration,
    stream: &mut S,
) -> Vec<T> {
    let until = tokio::time::sleep(time);
    stream.take_until(until).try_collect().await.unwrap()
}

/// The program that writes, and what it has said.
struct Java {
    _program: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Each with its transaction, or `-`.
    written: Vec<(String, Line)>,
    /// Whether a transaction was committed.
    decided: HashMap<String, bool>,
}

impl Java {
    fn start(environment: &Environment, brokers: &Brokers, topic: &str) -> Self {
        let mut java = Command::new(environment.fact("java"));
        java.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/broker/WriteTransactions.java"));
        java.args([&brokers.join(","), topic]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = java.stderr(Stdio::inherit()).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        Self { _program: program, input, output, written: Vec::new(), decided: HashMap::new() }
    }

    async fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Takes in what it says up to a line.
    async fn until(&mut self, line: &str) {
        let listening = async {
            loop {
                let said = self.output.next_line().await.unwrap().expect("Java has ended");
                match said.split(' ').collect::<Vec<_>>()[..] {
                    _ if said == line => return,
                    ["record", transaction, ..] => {
                        let (_, record) = said.split_at("record  ".len() + transaction.len());
                        self.written.push((transaction.to_owned(), record.parse().unwrap()));
                    }
                    ["end", transaction, how @ ("committed" | "aborted")] => {
                        self.decided.insert(transaction.to_owned(), how == "committed");
                    }
                    _ => panic!("Java said {said:?}"),
                }
            }
        };
        tokio::time::timeout(JAVA_TIMEOUT, listening).await.expect("Java says no more");
        self.written.sort_by_key(|(_, record)| record.offset);
    }

    /// The offset where the first transaction begins that is undecided.
    fn first_undecided(&self) -> i64 {
        let is_undecided = |one: &&(String, Line)| one.0 != "-" && !self.decided.contains_key(&one.0);
        self.written.iter().find(is_undecided).expect("one is open").1.offset
    }

    /// Waits until each transaction that has ended has its marker in the log: gives the log's end.
    async fn marked(&self, log: &PartitionClient) -> i64 {
        let end = (self.written.len() + self.decided.len()) as i64;
        let marking = async {
            while log.get_offset(OffsetAt::Latest).await.unwrap().offset != end {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, marking).await.expect("the log has other records");
        end
    }

    fn records(&self) -> Vec<Line> {
        self.written.iter().map(|(_, record)| record.clone()).collect()
    }

    /// The records that a reader of what is committed sees, once nothing before them is undecided.
    fn committed(&self) -> Vec<Line> {
        let is_committed =
            |transaction: &str| transaction == "-" || self.decided.get(transaction) == Some(&true);
        self.written
            .iter()
            .filter(|(transaction, _)| is_committed(transaction))
            .map(|(_, record)| record.clone())
            .collect()
    }
}
