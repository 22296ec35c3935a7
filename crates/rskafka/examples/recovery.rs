//! Recovers a database from its snapshot and the log behind it: `cargo run --example recovery [-- HOST:PORT TOPIC FILE]`.
//!
//! The database is a sum. Each run adds ten numbers, and takes a snapshot after the fifth. So the next run finds five entries
//! behind the snapshot, as after a crash.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use futures_util::TryStreamExt;
use rskafka::client::error::ErrorKind;
use rskafka::record::Record;
use rskafka::wal::{Position, Wal};
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    let (address, topic, file) = match arguments {
        [] => (None, "recovery", std::env::temp_dir().join(format!("rskafka-{}", std::process::id()))),
        [address, topic, file] => (Some(address.as_str()), topic.as_str(), file.into()),
        _ => return Err("usage: recovery [HOST:PORT TOPIC FILE]".into()),
    };
    let wal = support::wal(&support::connect(address).await?, topic).await?;
    recover(&wal, &file).await?;
    if address.is_none() {
        recover(&wal, &file).await?;
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The snapshot: the sum of all entries before a position.
fn load(file: &Path) -> support::Result<(Position, i64)> {
    if !file.exists() {
        return Ok((Position::START, 0));
    }
    let text = fs::read_to_string(file)?;
    let (position, sum) = text.split_once(' ').ok_or("the snapshot is damaged: restore it from a backup")?;
    Ok((position.parse()?, sum.parse()?))
}

/// Replaces the snapshot as a whole, unless the one that is there is a later one: this process may have been overtaken.
fn store(file: &Path, position: Position, sum: i64) -> support::Result {
    if !load(file)?.0.is_before(&position) {
        return Err("there is a later snapshot: another process has the log".into());
    }
    let new = file.with_extension("new");
    let written = fs::File::create(&new);
    let mut written = written.map_err(|error| format!("{} cannot be written: {error}", new.display()))?;
    write!(written, "{position} {sum}")?;
    written.sync_all()?;
    fs::rename(new, file)?;
    // Or the new name may be gone after a loss of power.
    let file = std::path::absolute(file)?;
    Ok(fs::File::open(file.parent().unwrap_or(&file))?.sync_all()?)
}

async fn recover(wal: &Wal, file: &Path) -> support::Result {
    let (position, mut sum) = load(file)?;
    let mut recovery = wal.claim(position, format!("process {}", std::process::id())).await?;
    let mut replayed = 0;
    while let Some(entry) = recovery.try_next().await? {
        for record in entry.records() {
            sum += std::str::from_utf8(record?.value.unwrap_or_default())?.parse::<i64>()?;
        }
        replayed += 1;
    }
    let writer = recovery.into_writer()?;
    println!("recovered the sum {sum} with {replayed} entries behind the snapshot");
    for number in 1..=10 {
        let record = Record::new((), number.to_string(), OffsetDateTime::now_utc());
        let appended = writer.append([record]).await?;
        sum += number;
        if number == 5 {
            store(file, appended.position, sum)?;
            match writer.trim(&appended.position).await {
                // Event Hubs has no such request: there, retention must do it.
                Err(error) if *error.kind() == ErrorKind::Unsupported => {}
                trimmed => println!("trimmed up to offset {}", trimmed?),
            }
        }
    }
    println!("the sum is {sum}");
    Ok(())
}
