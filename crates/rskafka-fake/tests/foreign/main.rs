//! Other people's clients against the fake over TCP: Kafka's own tools and a client in Python.
//!
//! `cargo xtask test` says where they are: `RSKAFKA_FOREIGN_JAVA` is a program that runs a main class of
//! Kafka, `RSKAFKA_FOREIGN_PYTHON` a Python that has kafka-python. Without them a test is skipped.

mod java;
mod python;

use std::process::{Output, Stdio};
use std::time::Duration;

use rskafka_fake::FakeCluster;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longer than any of these programs takes on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// Three brokers on loopback ports.
async fn start() -> (FakeCluster, String) {
    let cluster = FakeCluster::builder().brokers(3).start().await.unwrap();
    let addresses = cluster.bootstrap_servers().join(",");
    (cluster, addresses)
}

/// The program that a variable names. Without it, this prints that the test was skipped, past libtest's
/// capture: `cargo xtask test` counts these lines.
fn program(variable: &str) -> Option<String> {
    let program = std::env::var(variable).ok();
    if program.is_none() {
        let thread = std::thread::current();
        let line =
            format!("\nskipped under foreign: {}: {variable} is not set\n", thread.name().unwrap_or(""));
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
    }
    program
}

/// Runs a program to its end and gives what it printed.
async fn run(program: &str, args: &[&str], stdin: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that fails before it has read everything says why below.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let Output { status, stdout, stderr } = ended.expect("it ends in time").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{args:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}
