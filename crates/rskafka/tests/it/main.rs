//! The whole client against the in-process cluster: the cases that hold on every cluster, and what only a
//! cluster that does wrong on command can show.

#![allow(unreachable_pub, missing_docs, reason = "a test is nobody's library")]

#[path = "../common/mod.rs"]
mod common;

mod admin_calls;
mod appending;
mod asked;
mod bad_input;
mod batching;
mod broken_peers;
mod changing_logs;
mod creating;
mod dropping;
mod durability;
mod endings;
mod event_hubs;
mod examples_alone;
mod facade;
mod fencing;
mod fetching;
mod guard;
mod idempotence;
mod identity;
mod in_line;
mod kit;
mod lanes;
mod leaders;
mod lone_appends;
mod observing;
mod offset_queries;
mod old_formats;
mod options;
mod outcomes;
mod public_api;
mod reconnecting;
mod recorded;
mod refusals_at_the_door;
mod regions;
mod relay;
mod replaying;
mod resending;
mod resolving;
mod sessions;
mod shareable;
mod socks5_server;
mod streams;
mod throttling;
mod tuning;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::Brokers;
use kit::fake;

/// The cases of `common` run over TCP and in real time, as on a real broker. One that does not apply must fail: else the table
/// that says so is out of date.
fn run<F: Future<Output = ()>>(name: &str, case: fn(Brokers) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let cluster = runtime.block_on(fake().brokers(3).start()).unwrap();
    let brokers = cluster.bootstrap_servers();
    let Some(why) = runtime.block_on(common::why_not(name, &brokers)) else {
        return runtime.block_on(case(brokers));
    };
    let fails = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(brokers)))).is_err();
    assert!(fails, "{name} passes, though {why}");
    common::skipped("redpanda", name, why);
}

all_cases!(crate::run);
