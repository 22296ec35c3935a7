//! The cases of `common` on real brokers: `TEST_INTEGRATION=1 KAFKA_CONNECT=host:port cargo test`.
//!
//! Without `TEST_INTEGRATION` they are skipped, and say so. Those that need more than an address are ignored until asked for
//! with `--include-ignored`; then they fail if `KAFKA_ENVIRONMENT` does not say the rest.

#![allow(unreachable_pub, missing_docs, reason = "a test is nobody's library")]

#[path = "../common/mod.rs"]
mod common;
mod environment;
mod frozen;
mod java;
mod java_transactions;
mod librdkafka;
mod listeners;
mod old_formats;
mod raw;
mod refusals_at_the_door;
mod rules;
mod sessions;
mod transactions;
mod unclean;

use std::sync::{PoisonError, RwLock};

use common::Brokers;
use environment::Environment;

/// Held by every test; alone by those that freeze brokers, for which the others would have to wait.
static BROKERS: RwLock<()> = RwLock::new(());

fn run<F: Future<Output = ()>>(name: &str, case: impl FnOnce(Brokers) -> F) {
    if std::env::var_os("TEST_INTEGRATION").is_none() {
        println!("skipped: set TEST_INTEGRATION=1 and KAFKA_CONNECT=host:port to run it on a broker");
        return;
    }
    block_on(async {
        match common::why_not(name, &brokers()).await {
            Some(why) => common::skipped("redpanda", name, why),
            None => case(brokers()).await,
        }
    });
}

fn brokers() -> Brokers {
    let connect =
        std::env::var("KAFKA_CONNECT").expect("with TEST_INTEGRATION, KAFKA_CONNECT=host:port is needed");
    connect.split(',').map(str::to_owned).collect()
}

fn block_on(test: impl Future<Output = ()>) {
    let _with_others = BROKERS.read().unwrap_or_else(PoisonError::into_inner);
    run_to_end(test);
}

/// Says so where a test that needs an environment of `cargo xtask` does not apply to the brokers at hand.
fn is_skipped() -> bool {
    if std::env::var_os("KAFKA_CONNECT").is_none() {
        return false;
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let why = runtime.block_on(common::why_not(name, &brokers()));
    why.inspect(|why| common::skipped("redpanda", name, why)).is_some()
}

/// Runs a test while no other one runs.
fn alone<F: Future<Output = ()>>(test: impl FnOnce(Environment) -> F) {
    if is_skipped() {
        return;
    }
    let _alone = BROKERS.write().unwrap_or_else(PoisonError::into_inner);
    run_to_end(test(Environment::get()));
}

fn run_to_end(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(test);
}

all_cases!(crate::run);
