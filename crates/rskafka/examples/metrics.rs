//! Serves what the client counts to Prometheus: `cargo run --example metrics [-- HOST:PORT [LISTEN [SCRAPES]]]`.
//!
//! `curl 127.0.0.1:9464/metrics` shows it; LISTEN is another address. It ends after so many SCRAPES, or never.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use rskafka::client::Client;
use rskafka::client::stats::LATENCY_BOUNDS;
use rskafka::record::Record;
use rskafka::wal::Position;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    support::at_most(3, arguments, "metrics [HOST:PORT [LISTEN [SCRAPES]]]")?;
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    // Before the client is built, which asks for its metrics then.
    let latency = Matcher::Full("rskafka_latency_seconds".to_owned());
    let bounds = LATENCY_BOUNDS.map(|bound| bound.as_secs_f64());
    let metrics = PrometheusBuilder::new().set_buckets_for_metric(latency, &bounds)?.install_recorder()?;
    let client = support::connect(argument(0)).await?;
    let work = tokio::spawn(work(client));

    let address = argument(1).unwrap_or("127.0.0.1:9464");
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; give another address as the second argument")
    })?;
    println!("serving http://{}/metrics", listener.local_addr()?);
    for _ in 0..support::number("SCRAPES", arguments.get(2), u64::MAX)? {
        let (stream, _) = listener.accept().await?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // The request ends with an empty line; whatever it asks for gets the metrics.
        while stream.read_line(&mut line).await? > 2 {
            line.clear();
        }
        let text = metrics.render();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all((head + &text).as_bytes()).await?;
        if work.is_finished() {
            return work.await?;
        }
    }
    Ok(())
}

/// Something to count: a writer of an exclusive log, and a reader that follows it.
async fn work(client: Client) -> support::Result {
    let wal = support::wal(&client, "metrics").await?;
    let mut recovery = wal.claim(Position::START, "metrics").await?;
    while recovery.try_next().await?.is_some() {}
    let writer = recovery.into_writer()?;
    let mut reader = wal.read(writer.position()).build();
    for number in 0.. {
        writer.append([Record::new((), number.to_string(), OffsetDateTime::now_utc())]).await?;
        reader.try_next().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
