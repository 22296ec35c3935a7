//! Examples without a broker: on the cluster that they bring along, and where nobody listens. Whatever the profile, they run on
//! the same cluster, so they are run with one only.

use futures_util::future::join_all;
use rskafka_fake::Profile;

use super::common::examples::Process;
use super::common::skipped;
use super::kit::{nobody, profile};

/// Those examples that take no arguments, and a line of each.
const ALONE: [(&str, &str); 7] = [
    ("batching", "10000 records in "),
    ("inspect", "3\t1\t113\tnone\t0\t0\t2\t0\tEntry\t1\t2\t"),
    ("kv", "ready: 0 keys, term 1"),
    ("recovery", "recovered the sum 55 with 5 entries behind the snapshot"),
    ("tail", "       19         1  "),
    ("tls_sasl", "appended at 0 of 1, and read Some(b\"over TLS\")"),
    ("wal", "9: Some(b\"entry 9\")"),
];

/// Whether another profile's run shows the same.
fn is_skipped(test: &str) -> bool {
    let is_default = profile() == Profile::default();
    if !is_default {
        skipped(profile().name(), test, "the examples run on a cluster of their own");
    }
    !is_default
}

#[tokio::test]
async fn each_example_runs_without_arguments() {
    if is_skipped("each_example_runs_without_arguments") {
        return;
    }
    let ended = join_all(ALONE.map(|(name, _)| Process::start(name, &[]).end())).await;
    for (ended, (name, line)) in ended.into_iter().zip(ALONE) {
        let lines = ended.succeeded();
        assert!(lines.iter().any(|said| said.starts_with(line)), "{name}: {lines:?}");
    }
}

#[tokio::test]
async fn an_example_says_in_one_line_that_nobody_listens() {
    if is_skipped("an_example_says_in_one_line_that_nobody_listens") {
        return;
    }
    let (_socket, nobody) = nobody();
    let examples: [(&str, &[&str]); 9] = [
        ("batching", &[]),
        ("exclusive", &["topic", "name"]),
        ("inspect", &["topic", "0"]),
        ("kv", &[]),
        ("metrics", &["127.0.0.1:0"]),
        ("recovery", &["topic", "/tmp/no-such-snapshot"]),
        ("tail", &["topic"]),
        ("tls_sasl", &["user"]),
        ("wal", &[]),
    ];
    let run = |(name, more): (&str, &[&str])| {
        let arguments = [&[nobody.as_str()], more].concat();
        Process::told(name, &arguments, &[("KAFKA_PASSWORD", "secret")]).end()
    };
    let start = "is the address right? `cargo xtask env up fake`";
    let cause =
        format!("no time left: cannot open a connection to broker {nobody}: no address can be reached");
    for ended in join_all(examples.map(run)).await {
        ended.failed_saying(&["no reachable broker", &cause, "refused", start]);
    }
}

#[tokio::test]
async fn an_example_says_in_one_line_what_is_wrong_with_its_arguments() {
    if is_skipped("an_example_says_in_one_line_what_is_wrong_with_its_arguments") {
        return;
    }
    let wrong: [(&str, &[&str], &str); 13] = [
        ("exclusive", &[], "usage: exclusive HOST:PORT TOPIC NAME [COUNT]"),
        ("inspect", &["localhost:1"], "usage: inspect [HOST:PORT TOPIC PARTITION"),
        ("recovery", &["localhost:1"], "usage: recovery [HOST:PORT TOPIC FILE]"),
        ("tail", &["localhost:1"], "usage: tail [HOST:PORT TOPIC"),
        ("tls_sasl", &["localhost:1"], "usage: tls_sasl [HOST:PORT USER [CA_FILE]]"),
        ("tls_sasl", &["localhost:1", "user"], "put the password in KAFKA_PASSWORD"),
        ("tls_sasl", &["localhost:1", "user", "/no/such.pem"], "the CA file /no/such.pem cannot be read"),
        ("batching", &["--help"], "usage: batching [HOST:PORT [TOPIC]]"),
        ("kv", &["localhost:1", "topic", "0"], "usage: kv [HOST:PORT [TOPIC]]"),
        ("metrics", &["--fast"], "usage: metrics [HOST:PORT [LISTEN [SCRAPES]]]"),
        ("exclusive", &["localhost:1", "topic", "name", "x"], "COUNT cannot be \"x\""),
        ("wal", &["-h"], "usage: wal [HOST:PORT [TOPIC]]"),
        ("wal", &["localhost"], "has no port: write host:port"),
    ];
    let ended = join_all(wrong.map(|(name, arguments, _)| Process::start(name, arguments).end())).await;
    for (ended, (.., says)) in ended.into_iter().zip(wrong) {
        ended.failed_saying(&[says]);
    }
}
