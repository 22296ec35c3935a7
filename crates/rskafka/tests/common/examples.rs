//! Each example, in a process of its own, on a cluster that the test gives it.

use std::collections::BTreeMap;
use std::process::Stdio;

use rskafka::protocol::ApiKey;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Brokers, PATIENCE, new_log, new_topic, record};

#[path = "../../examples/batching.rs"]
mod batching;
#[path = "../../examples/exclusive.rs"]
mod exclusive;
#[path = "../../examples/inspect.rs"]
mod inspect;
#[path = "../../examples/kv.rs"]
mod kv;
#[path = "../../examples/metrics.rs"]
mod metrics;
#[path = "../../examples/recovery.rs"]
mod recovery;
#[path = "../../examples/support/mod.rs"]
mod support;
#[path = "../../examples/tail.rs"]
mod tail;
#[path = "../../examples/tls_sasl.rs"]
mod tls_sasl;
#[path = "../../examples/wal.rs"]
mod wal;

/// An example's name and its arguments, a line each.
const EXAMPLE: &str = "TEST_EXAMPLE";

/// Run by the tests, in a process of its own.
#[test]
#[ignore = "is told by other tests what to run"]
fn as_a_process() {
    let Ok(told) = std::env::var(EXAMPLE) else { return };
    let told: Vec<_> = told.lines().map(str::to_owned).collect();
    let (name, arguments) = told.split_first().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runtime.block_on(async {
        match name.as_str() {
            "batching" => batching::run(arguments).await,
            "exclusive" => exclusive::run(arguments).await,
            "inspect" => inspect::run(arguments).await,
            "kv" => kv::run(arguments).await,
            "metrics" => metrics::run(arguments).await,
            "recovery" => recovery::run(arguments).await,
            "tail" => tail::run(arguments).await,
            "tls_sasl" => tls_sasl::run(arguments).await,
            "wal" => wal::run(arguments).await,
            name => panic!("there is no example {name}"),
        }
    });
    let code = i32::from(result.is_err());
    support::exit(result);
    std::process::exit(code);
}

/// A process that runs an example.
pub struct Process {
    pub child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

/// What a process came to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub lines: Vec<String>,
    pub errors: Vec<String>,
}

impl Process {
    pub fn start(example: &str, arguments: &[&str]) -> Self {
        Self::told(example, arguments, &[])
    }

    /// The same, with these variables.
    pub fn told(example: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "common::examples::as_a_process", "--ignored", "--nocapture"]);
        // With one thread, libtest writes the test's name into the first line.
        command.env("RUST_TEST_THREADS", "2").envs(variables.iter().copied());
        command.env(EXAMPLE, [&[example], arguments].concat().join("\n")).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Where files without a folder are.
        command.current_dir(std::env::temp_dir());
        let mut child = command.spawn().unwrap();
        let (stdin, stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines, stderr }
    }

    /// The next line that begins like this.
    pub async fn line(&mut self, begin: &str) -> String {
        let line = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the process has ended");
                if line.starts_with(begin) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("there is no line {begin:?}"))
    }

    async fn write(&mut self, text: &str) {
        timeout(PATIENCE, self.stdin.write_all(text.as_bytes())).await.unwrap().unwrap();
    }

    /// Waits for its end, with nothing more on its standard input.
    pub async fn end(self) -> Ended {
        let Self { mut child, stdin, mut lines, mut stderr } = self;
        drop(stdin);
        let ended = async {
            let mut written = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                written.push(line);
            }
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).await.unwrap();
            let code = child.wait().await.unwrap().code();
            Ended { code, lines: written, errors: errors.lines().map(str::to_owned).collect() }
        };
        timeout(PATIENCE, ended).await.expect("the process does not end")
    }
}

impl Ended {
    /// Its lines, if it succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Vec<String> {
        assert!(self.code == Some(0) && self.errors.is_empty(), "{self:?}");
        self.lines
    }

    /// Asserts that it failed and said this in one line.
    #[track_caller]
    pub fn failed_saying(self, parts: &[&str]) {
        let [error] = &self.errors[..] else { panic!("{self:?}") };
        let is_said = error.starts_with("error: ") && parts.iter().all(|part| error.contains(part));
        assert!(is_said && self.code == Some(1), "{self:?}");
    }
}

pub async fn each_example_does_what_it_is_for(brokers: Brokers) {
    let broker = brokers[0].as_str();
    let start =
        |example, topic, more: &[&str]| Process::start(example, &[&[broker, topic], more].concat()).end();
    let (_, log) = new_log(&brokers, "example").await;
    log.produce(["one", "two"].map(record)).await.unwrap();
    let (wal, batching) = (new_topic("wal"), new_topic("batching"));
    let (wal, batching, tail, table, json) = tokio::join!(
        start("wal", &wal, &[]),
        start("batching", &batching, &[]),
        start("tail", log.topic(), &["0", "earliest", "2"]),
        start("inspect", log.topic(), &["0"]),
        start("inspect", log.topic(), &["0", "--json"]),
    );
    assert!(wal.succeeded().iter().any(|line| line == "9: Some(b\"entry 9\")"));
    let lines = batching.succeeded();
    assert!(lines.iter().any(|line| line.starts_with("10000 records in ")), "{lines:?}");
    let lines = tail.succeeded();
    assert!(lines.iter().any(|line| line.starts_with("        0         1  ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("        1         0  ")), "{lines:?}");
    let lines = table.succeeded();
    assert!(lines.iter().any(|line| line.starts_with("0\t2\t") && line.ends_with("\tforeign")), "{lines:?}");
    let lines = json.succeeded();
    assert!(
        lines.iter().any(|line| line.contains(r#""offset":0"#) && line.contains(r#""verdict":"foreign""#))
    );
}

pub async fn what_the_client_counts_is_served(brokers: Brokers) {
    let mut serving = Process::start("metrics", &[&brokers[0], "127.0.0.1:0", "2"]);
    let line = serving.line("serving http://").await;
    let address = line.trim_start_matches("serving http://").trim_end_matches("/metrics");
    let mut text = String::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        text.clear();
        timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    }
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    for name in ["rskafka_requests{broker=\"", "rskafka_latency_seconds_bucket{broker=\""] {
        assert!(text.contains(name), "{name} is missing in: {text}");
    }
    serving.end().await.succeeded();
}

pub async fn a_database_recovers_from_its_snapshot_and_the_log(brokers: Brokers) {
    let topic = new_topic("recovery");
    let path = std::env::temp_dir().join(&topic);
    let _removed = Removed(&path);
    let run = || Process::start("recovery", &[&brokers[0], &topic, &topic]).end();
    let says =
        |lines: &[String], line: &str| assert!(lines.iter().any(|said| said == line), "{line}: {lines:?}");

    let lines = run().await.succeeded();
    says(&lines, "recovered the sum 0 with 0 entries behind the snapshot");
    says(&lines, "the sum is 55");
    let can_trim = lines.iter().any(|line| line == "trimmed up to offset 6");
    assert_eq!(can_trim, super::advertised(&brokers).await.contains_key(&ApiKey::DELETE_RECORDS));
    let first = std::fs::read_to_string(&path).unwrap();
    // What counts behind a stored position is known although the log was trimmed.
    let (position, _) = first.split_once(' ').unwrap();
    let lines = Process::start("inspect", &[&brokers[0], &topic, "0", position]).end().await.succeeded();
    assert!(lines.iter().any(|line| line.starts_with("6\t1\t") && line.ends_with("\tcounts")), "{lines:?}");
    let lines = run().await.succeeded();
    says(&lines, "recovered the sum 55 with 5 entries behind the snapshot");
    says(&lines, "the sum is 110");

    // An older snapshot will do for as long as the log was not trimmed beyond it.
    std::fs::write(&path, first).unwrap();
    let ended = run().await;
    if can_trim {
        ended.failed_saying(&["offset 6 is not in the log"]);
    } else {
        says(&ended.succeeded(), "recovered the sum 110 with 15 entries behind the snapshot");
    }
    std::fs::write(&path, "torn").unwrap();
    run().await.failed_saying(&["the snapshot is damaged: restore it from a backup"]);
}

/// A file that is removed in the end.
struct Removed<'a>(&'a std::path::Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

/// How often the store is killed.
const KILLS: usize = 20;

/// The change with this number, as a command and as what it does. Keys are changed again and again, and deleted at times.
fn change(number: usize) -> (String, (String, Option<String>)) {
    let key = format!("key{}", number % 13);
    match number % 5 {
        0 => (format!("delete {key}\n"), (key, None)),
        _ => (format!("set {key} value {number}\n"), (key, Some(format!("value {number}")))),
    }
}

fn apply(store: &mut BTreeMap<String, String>, (key, value): (String, Option<String>)) {
    match value {
        Some(value) => store.insert(key, value),
        None => store.remove(&key),
    };
}

pub async fn a_store_that_is_killed_has_what_it_has_acknowledged(brokers: Brokers) {
    let topic = new_topic("kv");
    // What was acknowledged, and the change that may be there besides: one is made after the other.
    let (mut acknowledged, mut in_doubt) = (BTreeMap::new(), None);
    let mut number = 0;
    for kill in 0..=KILLS {
        let mut store = Process::start("kv", &[&brokers[0], &topic]);
        assert!(store.line("ready").await.ends_with(&format!(", term {}", kill + 1)));
        store.write("list\nget end\n").await;
        let mut found = BTreeMap::new();
        while let line = store.line("").await
            && line != "end is not set"
        {
            let (key, value) = line.split_once(" = ").unwrap();
            found.insert(key.to_owned(), value.to_owned());
        }
        if found != acknowledged
            && let Some(change) = in_doubt.take()
        {
            apply(&mut acknowledged, change);
        }
        assert_eq!(found, acknowledged, "after {kill} kills");

        // More than it will get to.
        let commands: Vec<_> = (number..number + 1000).map(|number| change(number).0).collect();
        store.write(&commands.concat()).await;
        for _ in 0..1 + kill * 7 % 20 {
            store.line("ok").await;
            apply(&mut acknowledged, change(number).1);
            number += 1;
        }
        store.child.start_kill().unwrap();
        // Also what it acknowledged before it died.
        let ended = store.end().await;
        assert_eq!((ended.code, ended.errors.len()), (None, 0), "{ended:?}");
        for line in ended.lines {
            assert!(line.starts_with("ok "), "{line}");
            apply(&mut acknowledged, change(number).1);
            number += 1;
        }
        in_doubt = Some(change(number).1);
        number += 1;
    }
    assert!(number > KILLS * 5);
}
