//! The tables of docs/tuning.md say which options there are and what their defaults are, as the code has them.
//!
//! A default is read from the `Debug` of a fresh builder, where its field has the name of the option. Where it has not, or a
//! default is an argument or follows another one, the table below says so.

use rskafka::client::consumer::StartAt;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, PartitionClient};
use rskafka::fake::FakeClusterExt;

use super::kit::{TOPIC, start};

const PAGE: &str = include_str!("../../../../docs/tuning.md");

/// Where an option is set: the heading of its table, the `Debug` of a builder, and the source that defines it.
struct Place {
    heading: &'static str,
    debug: String,
    source: &'static str,
}

/// Fields that have another name than their option.
const FIELDS: [(&str, &str); 7] = [
    ("backoff", "backoff: Backoff { initial: 50ms, max: 200ms }"),
    ("reconnect_backoff", "reconnect_backoff: Backoff { initial: 50ms, max: 1s }"),
    ("connections_max_idle", "idle_timeout"),
    ("share_produce_connections", "shares_produce_connections"),
    ("idempotence", "is_idempotent"),
    ("stop_on_failure", "stop_on_failure"),
    ("until", "until: 9223372036854775807"),
];

/// Options without a default that could be compared.
const OTHERS: [&str; 8] =
    ["tls", "sasl", "socks5", "env", "accept_risks", "compression_level", "max_records", "compression"];

async fn places(client: &Client, log: &PartitionClient) -> [Place; 5] {
    let of_client = format!("{:?}", Client::builder(["localhost:9092"]));
    // What stands before it is of the client.
    let options = |debug: String, start: &str| debug.split_once(start).expect("the options").1.to_owned();
    let of_partition = options(format!("{:?}", client.partition_client(TOPIC, 0)), "options: LineOptions");
    let aggregator = RecordAggregator::<(), (), ()>::new(1 << 20);
    let of_producer = format!("{:?} {aggregator:?}", BatchProducer::builder(log.clone()));
    let replay = options(format!("{:?}", log.replay(0..1)), "options: ReadOptions");
    let stream = options(format!("{:?}", log.stream(StartAt::Earliest)), "options: ReadOptions");
    let of_stream = stream + &replay.replace("read_ahead_bytes", "read_ahead_bytes of a replay");
    let place = |heading, debug, source| Place { heading, debug, source };
    [
        place("## The client", of_client, include_str!("../../../rskafka-client/src/builder.rs")),
        place(
            "## Partition clients",
            of_partition,
            include_str!("../../../rskafka-client/src/partition_client.rs"),
        ),
        place(
            "## Batch producers",
            of_producer,
            concat!(
                include_str!("../../../rskafka-client/src/producer/batch_producer.rs"),
                include_str!("../../../rskafka-client/src/producer/aggregator.rs")
            ),
        ),
        place(
            "## Fetches",
            format!("{:?}", log.fetch(0)),
            include_str!("../../../rskafka-client/src/fetch/mod.rs"),
        ),
        place(
            "## Streams and replays",
            of_stream,
            include_str!("../../../rskafka-client/src/consumer/builder.rs"),
        ),
    ]
}

/// The rows of the first table behind a heading: option and default.
fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once(&format!("{heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let option = cells.next().unwrap();
        let name = option.split('`').next().unwrap();
        let name = if option.ends_with("of a replay") { "read_ahead_bytes of a replay" } else { name };
        (name, cells.next().unwrap())
    })
    .collect()
}

/// A default as `Debug` shows it.
fn shown(default: &str) -> String {
    let (number, unit) = default.split_once(' ').unwrap_or((default, ""));
    let number_of = |factor: u64| (number.parse::<u64>().unwrap() * factor).to_string();
    match unit {
        "ms" if number == "0" => "0ns".to_owned(),
        "ms" => format!("{number}ms"),
        "s" => format!("{number}s"),
        "min" => number_of(60) + "s",
        "MiB" => number_of(1 << 20),
        _ => match default {
            "on" => "true".to_owned(),
            "off" => "false".to_owned(),
            "none" => "None".to_owned(),
            other if other.starts_with('`') => other.trim_matches('`').to_owned(),
            other => other.to_owned(),
        },
    }
}

#[tokio::test(start_paused = true)]
async fn the_tables_of_tuning_have_the_defaults_of_the_code() {
    let (cluster, _, log) = start(1).await;
    let client = cluster.client().await.unwrap();
    let mut compared = 0;
    for Place { heading, debug, .. } in places(&client, &log).await {
        for (option, default) in rows(heading) {
            if OTHERS.contains(&option) || default == "an argument" {
                continue;
            }
            let field = FIELDS.iter().find(|(name, _)| *name == option).map_or(option, |(_, field)| field);
            let expected = match field {
                _ if field.contains(": ") => field.to_owned(),
                "client_id" => format!("client_id: {:?}", shown(default)),
                _ => format!("{field}: {}", shown(default)),
            };
            let is_there = debug.match_indices(&expected).any(|(at, _)| {
                let next = debug[at + expected.len()..].chars().next();
                !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
            });
            assert!(is_there, "{heading}: `{option}` is not {default} ({expected}) in {debug}");
            compared += 1;
        }
    }
    assert!(compared >= 30, "{compared}");
}

#[tokio::test(start_paused = true)]
async fn the_tables_of_tuning_have_every_option() {
    let (cluster, _, log) = start(1).await;
    let client = cluster.client().await.unwrap();
    for Place { heading, source, .. } in places(&client, &log).await {
        let documented: Vec<_> = rows(heading).into_iter().map(|(option, _)| option).collect();
        for options in source.split("options! {").skip(1) {
            let options = options.split("\n    }\n").next().unwrap();
            let names = options.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
            for name in names.map(|line| line.split('(').next().unwrap()) {
                let is_there = documented.contains(&name) || ["tls", "sasl", "socks5"].contains(&name);
                assert!(is_there, "docs/tuning.md does not have `{name}` under {heading}");
            }
        }
    }
}
