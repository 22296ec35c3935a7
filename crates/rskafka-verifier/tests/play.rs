//! The fake cluster as a process of its own, and a client that reaches it over TCP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rskafka::client::Client;
use rskafka::record::Record;

/// Ends it also where the test fails.
struct Playing(Child);

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fake(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rskafka-verifier"));
    command.arg("fake").args(args);
    command
}

#[tokio::test]
async fn a_client_appends_to_a_cluster_in_another_process_which_ends_when_told_to() {
    let args = ["--brokers", "3", "--topic", "wal:2", "--topic", "single:1:1", "--profile", "kafka-3.9"];
    let mut playing = Playing(fake(&args).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(playing.0.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let brokers: Vec<&str> = line.strip_prefix("KAFKA_CONNECT=").unwrap().split(',').collect();
    assert_eq!(brokers.len(), 3, "{line}");
    assert!(brokers.iter().all(|broker| broker.starts_with("127.0.0.1:")), "{line}");

    let client = Client::builder(brokers).build().await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let found: Vec<_> = topics.iter().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
    assert_eq!(found, [("single", 1), ("wal", 2)]);
    let log = client.partition_client("wal", 1).await.unwrap();
    let record = Record { key: (), value: "played", headers: (), timestamp: time::OffsetDateTime::now_utc() };
    log.produce([record]).await.unwrap();
    let (records, _) = log.fetch_records(0, 1..1_000_000, 1_000).await.unwrap();
    assert_eq!(records[0].record.value.as_deref(), Some(&b"played"[..]));
    client.close().await;

    kill(Pid::from_raw(playing.0.id() as i32), Signal::SIGTERM).unwrap();
    assert!(playing.0.wait().unwrap().success());
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    for (args, says) in [
        (&["--topic", "wal"][..], "NAME:PARTITIONS"),
        (&["--topic", "wal:1:9"], "topic wal: "),
        (&["--brokers", "0"], "the cluster does not start: "),
        (&["--profile", "kafka-9"], "no profile \"kafka-9\""),
    ] {
        let Output { status, stderr, .. } = fake(args).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!status.success() && stderr.lines().next().unwrap().contains(says), "{args:?}: {stderr}");
    }
}
