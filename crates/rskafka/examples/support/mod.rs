//! What the examples share: the cluster that they run on, and how they end.

use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use rskafka::client::error::ErrorKind;
use rskafka::client::{Client, ClientBuilder, DurabilityKind};
use rskafka::fake::{FakeCluster, FakeClusterExt};
use rskafka::wal::Wal;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What was given on the command line.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args().skip(1).collect()
}

/// The usage, as an error, if there are too many arguments or any that looks like an option.
#[allow(dead_code, reason = "some examples match their arguments")]
pub(crate) fn at_most(most: usize, arguments: &[String], usage: &str) -> Result {
    let is_fine = arguments.len() <= most && !arguments.iter().any(|argument| argument.starts_with('-'));
    if is_fine { Ok(()) } else { Err(format!("usage: {usage}").into()) }
}

/// Reads a number, if one was given.
#[allow(dead_code, reason = "not every example has numbers")]
pub(crate) fn number<T: FromStr>(name: &str, given: Option<&impl AsRef<str>>, otherwise: T) -> Result<T> {
    let Some(text) = given.map(AsRef::as_ref) else { return Ok(otherwise) };
    text.parse().map_err(|_| format!("{name} cannot be {text:?}").into())
}

/// Prints a line.
#[allow(dead_code, reason = "not every example prints many")]
pub(crate) fn print(line: impl Display) -> Result {
    Ok(writeln!(stdout(), "{line}")?)
}

/// Success, or failure with the error and its causes in one line.
pub(crate) fn exit(result: Result) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe) {
        // Nobody reads on, as behind `| head`.
        return ExitCode::SUCCESS;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("error: {}", text.replace('\n', " "));
    ExitCode::FAILURE
}

/// A client of the brokers at an address (`host:port`, or several separated by commas). Without one, of a cluster inside this
/// process, which ends with the client.
#[allow(dead_code, reason = "not every example has a plaintext client")]
pub(crate) async fn connect(address: Option<&str>) -> Result<Client> {
    match address {
        Some(address) => build(Client::builder([address])).await,
        None => Ok(FakeCluster::builder().in_memory().start().await?.client().await?),
    }
}

/// The client. One of a program that is to survive an outage would wait for longer than this.
pub(crate) async fn build(builder: ClientBuilder) -> Result<Client> {
    let client = builder.api_timeout(Duration::from_secs(3)).build().await;
    let start = "is the address right? `cargo xtask env up fake` starts a cluster, without TLS";
    client.map_err(|error| match error.kind() {
        ErrorKind::NoReachableBroker => format!("{error:?}; {start}").into(),
        _ => error.into(),
    })
}

/// A topic as an exclusive log, created if it is missing.
#[allow(dead_code, reason = "not every example has an exclusive log")]
pub(crate) async fn wal(client: &Client, topic: &str) -> Result<Wal> {
    client.create_topic(topic, 1, 1).config("retention.ms", "-1").if_missing().await?;
    // A log that matters has three replicas on brokers that were set up for it, and accepts none of these.
    use DurabilityKind::{MinInsyncTooLow, NotTold, OneReplica, UncleanElection};
    let risks = [OneReplica, MinInsyncTooLow, UncleanElection, NotTold];
    Ok(client.wal(topic, 0).accept_risks(risks).await?)
}
