//! The cases of `common` on real brokers: `TEST_INTEGRATION=1 KAFKA_CONNECT=host:port cargo test`.
//!
//! Without `TEST_INTEGRATION` they are skipped, and say so. Those that need more than an address are ignored until asked for
//! with `--include-ignored`; then they fail if `KAFKA_ENVIRONMENT` does not say the rest.

#![allow(unreachable_pub, missing_docs, reason = "a test is nobody's library")]

#[path = "../common/mod.rs"]
mod common;
mod environment;
mod java;
mod security;

use common::Brokers;

fn run<F: Future<Output = ()>>(case: fn(Brokers) -> F) {
    if std::env::var_os("TEST_INTEGRATION").is_none() {
        println!("skipped: set TEST_INTEGRATION=1 and KAFKA_CONNECT=host:port to run it on a broker");
        return;
    }
    block_on(case(brokers()));
}

fn brokers() -> Brokers {
    let connect =
        std::env::var("KAFKA_CONNECT").expect("with TEST_INTEGRATION, KAFKA_CONNECT=host:port is needed");
    connect.split(',').map(str::to_owned).collect()
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(test);
}

all_cases!(crate::run);
