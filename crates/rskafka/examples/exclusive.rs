//! Claims a log, prints what is in it, and appends a number every 100 ms until another process claims it:
//! `cargo run --example exclusive -- HOST:PORT TOPIC NAME [COUNT]`. Needs a broker, such as that of `cargo xtask env up fake`.
//!
//! Run it twice with different names: the second one takes the log from the first. Stop the first one before with SIGSTOP, and
//! continue it afterwards: what it sends late is dead.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use rskafka::record::Record;
use rskafka::wal::Position;
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    let [broker, topic, name, count @ ..] = arguments else {
        return Err(
            "usage: exclusive HOST:PORT TOPIC NAME [COUNT]; `cargo xtask env up fake` starts a cluster"
                .into(),
        );
    };
    let count = support::number("COUNT", count.first(), u64::MAX)?;
    let wal = support::wal(&support::connect(Some(broker)).await?, topic).await?;

    let mut recovery = wal.claim(Position::START, name.to_owned()).await?;
    let mut entries = 0;
    while let Some(entry) = recovery.try_next().await? {
        entries += 1;
        for record in entry.records() {
            let value = record?.value.unwrap_or_default();
            println!("read {} {}", entry.offsets().start, String::from_utf8_lossy(value));
        }
    }
    let writer = recovery.into_writer()?;
    println!("claimed term {} after {entries} entries", writer.claim().term);

    for number in 0..count {
        let value = format!("{name} {number}");
        match writer.append([Record::new((), value.clone(), OffsetDateTime::now_utc())]).await {
            Ok(appended) => println!("appended {} {value}", appended.offsets.start),
            Err(error) => {
                println!("ended {value}: {error}");
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
