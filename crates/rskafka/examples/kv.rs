//! A key-value store on an exclusive log, which loses nothing that it has acknowledged, also if it is killed:
//! `cargo run --example kv [-- HOST:PORT [TOPIC]]`, then `set KEY VALUE`, `get KEY`, `delete KEY` or `list` on standard input.
//!
//! It reads the whole log when it starts; `recovery.rs` shows how a snapshot makes that short. A second process with the same
//! topic takes the store over: the first one ends at its next change.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures_util::TryStreamExt;
use rskafka::record::Record;
use rskafka::wal::{Position, Writer};
use time::OffsetDateTime;

mod support;

const COMMANDS: &str = "set KEY VALUE, get KEY, delete KEY, list; Ctrl-D ends";

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    support::at_most(2, arguments, "kv [HOST:PORT [TOPIC]]")?;
    let client = support::connect(arguments.first().map(String::as_str)).await?;
    let wal = support::wal(&client, arguments.get(1).map_or("kv", String::as_str)).await?;
    let mut recovery = wal.claim(Position::START, format!("kv, process {}", std::process::id())).await?;
    let mut store = Store::default();
    while let Some(entry) = recovery.try_next().await? {
        for record in entry.records() {
            let record = record?;
            store.apply(text(record.key).unwrap_or_default(), text(record.value));
        }
    }
    let writer = recovery.into_writer()?;
    println!("{COMMANDS}");
    println!("ready: {} keys, term {}", store.0.len(), writer.claim().term);
    // This blocks the main thread. The client's tasks run on the others.
    for line in std::io::stdin().lines() {
        match line?.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["set", key, value] => store.change(&writer, key, Some(value)).await?,
            ["delete", key] => store.change(&writer, key, None).await?,
            ["get", key] => match store.0.get(key) {
                Some(value) => println!("{key} = {value}"),
                None => println!("{key} is not set"),
            },
            ["list"] => store.0.iter().for_each(|(key, value)| println!("{key} = {value}")),
            _ => println!("what? {COMMANDS}"),
        }
    }
    writer.close().await;
    Ok(())
}

#[derive(Default)]
struct Store(BTreeMap<String, String>);

impl Store {
    /// Logs the change, makes it, and only then acknowledges it.
    async fn change(&mut self, writer: &Writer, key: &str, value: Option<&str>) -> support::Result {
        let record = Record::new(key, value, OffsetDateTime::now_utc());
        let appended = writer.append([record]).await?;
        self.apply(key.to_owned(), value.map(str::to_owned));
        println!("ok {}", appended.offsets.start);
        Ok(())
    }

    fn apply(&mut self, key: String, value: Option<String>) {
        match value {
            Some(value) => self.0.insert(key, value),
            None => self.0.remove(&key),
        };
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    Some(String::from_utf8_lossy(bytes?).into_owned())
}
