//! The whole client against the in-process cluster: the cases that hold on every cluster, and what only a
//! cluster that does wrong on command can show.

#![allow(unreachable_pub, missing_docs, reason = "a test is nobody's library")]

#[path = "../common/mod.rs"]
mod common;

mod asked;
mod bad_input;
mod broken_peers;
mod creating;
mod dropping;
mod endings;
mod event_hubs;
mod fetching;
mod guard;
mod identity;
mod kit;
mod lanes;
mod leaders;
mod observing;
mod offset_queries;
mod options;
mod outcomes;
mod public_api;
mod reconnecting;
mod refusals_at_the_door;
mod regions;
mod relay;
mod resending;
mod sessions;
mod throttling;

use common::Brokers;
use kit::fake;

/// The cases of `common` run over TCP and in real time, as on a real broker.
fn run<F: Future<Output = ()>>(case: fn(Brokers) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let cluster = fake().brokers(3).start().await.unwrap();
        case(cluster.bootstrap_servers()).await;
    });
}

all_cases!(crate::run);
