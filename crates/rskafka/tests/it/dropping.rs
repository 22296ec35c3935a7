//! Futures dropped at every await: nothing is hurt.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rskafka::client::{Client, OffsetAt, PartitionClient};

use super::common::{read_all, record, values};
use super::kit::{TOPIC, builder, start};

/// Polls a future up to `polls` times, with time going on in between; whether it completed.
async fn poll_times<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let done = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return true;
        }
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    false
}

/// Drops the call that `call` makes at poll 1, 2, 3, … until it completes; the log works after each.
async fn drop_at_every_poll<F: Future>(name: &str, mut call: impl FnMut(Client, PartitionClient) -> F) {
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        let done = poll_times(polls, call(client.clone(), log.clone())).await;
        log.produce([record("after")]).await.unwrap();
        let read = values(&read_all(&log).await);
        assert_eq!(
            read.iter().filter(|value| *value == "after").count(),
            1,
            "{name} dropped at poll {polls}"
        );
        assert!(
            read.iter().filter(|value| *value == "dropped").count() <= 1,
            "{name} dropped at poll {polls}"
        );
        assert_eq!(cluster.open_connections(1).unwrap(), 3, "{name} dropped at poll {polls}");
        if done {
            println!("{name}: dropped at {} polls", polls - 1);
            return;
        }
        assert!(polls < 500, "{name} does not come to its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_produce_dropped_at_every_poll_is_written_at_most_once() {
    drop_at_every_poll("produce", |_, log| async move { log.produce([record("dropped")]).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_dropped_at_every_poll_hurts_nothing() {
    drop_at_every_poll("fetch", |_, log| async move { log.fetch_records(0, 1..1_000_000, 1).await }).await;
}

#[tokio::test(start_paused = true)]
async fn an_offset_query_dropped_at_every_poll_hurts_nothing() {
    drop_at_every_poll("get_offset", |_, log| async move { log.get_offset(OffsetAt::Latest).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_dropped_at_every_poll_hurts_nothing() {
    drop_at_every_poll("create_topic", |client, _| async move { client.create_topic("other", 2, 1).await })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_client_dropped_at_every_poll_hurts_nothing() {
    drop_at_every_poll(
        "partition_client",
        |client, _| async move { client.partition_client(TOPIC, 0).await },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn connecting_dropped_at_every_poll_leaves_no_connection() {
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        drop((client, log));
        let done = poll_times(polls, builder(&cluster).build()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.open_connections(1).unwrap(), 0, "dropped at poll {polls}");
        if done {
            return;
        }
        assert!(polls < 500);
    }
}
