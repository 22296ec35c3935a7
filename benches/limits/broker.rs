//! The fake cluster in a process of its own: a broker that answers at once.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rskafka_fake::FakeCluster;
use tokio::runtime::{Builder, Runtime};

use crate::BATCH_BYTES;

/// The argument that has this program be the broker.
pub(crate) const SERVE: &str = "--serve";

/// It ends with this process, which holds its standard input.
pub(crate) struct Broker {
    pub(crate) address: String,
    process: Child,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program's file");
        let mut process = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a broker");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("it says where it is");
        Self { address: address.trim().to_owned(), process }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves until standard input ends.
pub(crate) fn serve() {
    let runtime = runtime();
    // Little, so that it stays in memory that is used again.
    let builder = FakeCluster::builder().recorded_requests(0).retain_bytes_per_partition(16 * BATCH_BYTES);
    let cluster = runtime.block_on(builder.start()).expect("a cluster");
    println!("{}", cluster.bootstrap_servers().join(","));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Two workers, as what a service has.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
