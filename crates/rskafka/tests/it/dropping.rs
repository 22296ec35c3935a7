//! Futures dropped at every await: nothing is hurt. How many polls each call took is printed:
//! `cargo test -p rskafka --test it dropping -- --nocapture`.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rskafka::client::error::Outcome;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::client::{Client, ClientBuilder, OffsetAt, PartitionClient};
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, Fault};

use super::common::dropped::poll_times;
use super::common::{read_all, record, values};
use super::kit::{TOPIC, builder, fake, start};

/// More than any call takes without waiting; only then time goes on.
const BUSY_TURNS: usize = 100;

/// Polls a future once for each of so many turns of the other tasks, and drops it: also while what it has begun,
/// on tasks of its own, is under way. Gives whether it completed.
async fn turn_times<F: Future<Output: Send> + Send + 'static>(turns: usize, future: F) -> bool {
    // The runtime gives a turn to each of its tasks, but not to the future that it is blocked on.
    let dropped = tokio::spawn(async move {
        let mut future = Box::pin(future);
        for turn in 0..turns {
            let mut is_first = true;
            let polled = poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Pending if is_first => {
                    is_first = false;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                polled => Poll::Ready(polled.is_ready()),
            });
            if polled.await {
                return true;
            }
            if turn > BUSY_TURNS {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        false
    });
    dropped.await.unwrap()
}

/// Waits until all connections have ended.
async fn settle(cluster: &FakeCluster) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
}

/// Drops the call that `call` makes at poll 1, 2, 3, … until it completes, then at each turn of the other tasks;
/// the log works after each.
async fn drop_at_every_poll<F: Future<Output: Send> + Send + 'static>(
    name: &str,
    mut call: impl FnMut(Client, PartitionClient) -> F,
) {
    let polls =
        drop_at_every(name, async |polls, client, log| poll_times(polls, call(client, log)).await).await;
    let turns =
        drop_at_every(name, async |turns, client, log| turn_times(turns, call(client, log)).await).await;
    println!("{name}: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
    println!("{name}: completes within {turns} turns of all tasks, and was dropped at each before");
}

/// Gives at which step the call completes.
async fn drop_at_every(
    name: &str,
    mut dropped_at: impl AsyncFnMut(usize, Client, PartitionClient) -> bool,
) -> usize {
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        let done = dropped_at(polls, client.clone(), log.clone()).await;
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
        drop((client, log));
        settle(&cluster).await;
        assert_eq!(cluster.partial_frames(), 0, "{name} dropped at poll {polls}");
        if done {
            return polls;
        }
        assert!(polls < 500, "{name} does not come to its end");
    }
    unreachable!("it ends, or the limit is reached")
}

#[tokio::test(start_paused = true)]
async fn a_produce_dropped_at_every_poll_is_written_at_most_once() {
    drop_at_every_poll("produce", |_, log| async move { log.produce([record("dropped")]).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_batch_producer_dropped_at_every_poll_is_written_at_most_once() {
    for (name, linger) in [("batched", 0), ("batched and lingering", 5)] {
        drop_at_every_poll(name, |_, log| async move {
            let builder = BatchProducer::builder(log).linger(Duration::from_millis(linger));
            builder.build(RecordAggregator::new(1_000)).produce(record("dropped")).await
        })
        .await;
    }
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
async fn a_deletion_and_a_listing_dropped_at_every_poll_hurt_nothing() {
    drop_at_every_poll("delete_topic", |client, _| async move { client.delete_topic("no-topic").await })
        .await;
    drop_at_every_poll("list_topics", |client, _| async move { client.list_topics().await }).await;
}

#[tokio::test(start_paused = true)]
async fn admin_calls_dropped_at_every_poll_hurt_nothing() {
    drop_at_every_poll(
        "create_partitions",
        |client, _| async move { client.create_partitions(TOPIC, 2).await },
    )
    .await;
    drop_at_every_poll("alter_configs", |client, _| async move {
        client.alter_configs(TOPIC, &[("retention.ms", Some("-1"))]).await
    })
    .await;
    drop_at_every_poll("check_durability", |client, _| async move { client.check_durability(TOPIC).await })
        .await;
    drop_at_every_poll("delete_records", |_, log| async move { log.delete_records(None).await }).await;
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
    let polls =
        connecting_dropped_at_every(async |polls, client| poll_times(polls, client.build()).await).await;
    let turns =
        connecting_dropped_at_every(async |turns, client| turn_times(turns, client.build()).await).await;
    println!("connect: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
    println!("connect: completes within {turns} turns of all tasks, and was dropped at each before");
}

async fn connecting_dropped_at_every(mut dropped_at: impl AsyncFnMut(usize, ClientBuilder) -> bool) -> usize {
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        drop((client, log));
        let done = dropped_at(polls, builder(&cluster)).await;
        settle(&cluster).await;
        assert_eq!(cluster.partial_frames(), 0, "connect dropped at poll {polls}");
        let client = builder(&cluster).build().await.unwrap();
        client.partition_client(TOPIC, 0).await.unwrap().produce([record("after")]).await.unwrap();
        if done {
            return polls;
        }
        assert!(polls < 500);
    }
    unreachable!("it ends, or the limit is reached")
}

#[tokio::test(start_paused = true)]
async fn a_large_produce_through_a_narrow_pipe_dropped_at_every_poll_leaves_whole_frames() {
    // The request is 50 times what the pipe holds: it is dropped while a part of it is written.
    let value = "x".repeat(50_000);
    for polls in 1.. {
        let cluster = fake().in_memory().pipe_bytes(1000).start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let client = builder(&cluster).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        let done = poll_times(polls, log.produce([record(value.clone())])).await;
        log.produce([record("after")]).await.unwrap();
        let read = values(&read_all(&log).await);
        assert_eq!(read, [value.as_str(), "after"], "it had its place, so it is written; at poll {polls}");
        drop((client, log));
        settle(&cluster).await;
        assert_eq!(cluster.partial_frames(), 0, "dropped at poll {polls}");
        if done {
            println!(
                "large produce: completes with poll {}, and was dropped at each before",
                polls.div_ceil(2)
            );
            return;
        }
        assert!(polls < 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_dropped_at_every_poll_can_be_made_again() {
    let close = |client: Client| async move { client.close().await };
    let polls = close_dropped_at_every(async |polls, client| poll_times(polls, close(client)).await).await;
    let turns = close_dropped_at_every(async |turns, client| turn_times(turns, close(client)).await).await;
    println!("close: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
    println!("close: completes within {turns} turns of all tasks, and was dropped at each before");
}

async fn close_dropped_at_every(mut dropped_at: impl AsyncFnMut(usize, Client) -> bool) -> usize {
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        cluster.inject(Fault::delay(Duration::from_micros(500)).on(ApiKey::PRODUCE));
        let in_line = [log.produce([record("one")]), log.produce([record("two")])];
        let done = dropped_at(polls, client.clone()).await;
        let started = tokio::time::Instant::now();
        client.close().await;
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "dropped at poll {polls}: {:?}",
            started.elapsed()
        );
        assert_eq!(cluster.open_connections(1).unwrap(), 0, "dropped at poll {polls}");
        assert_eq!(cluster.partial_frames(), 0, "dropped at poll {polls}");
        let mut written = Vec::new();
        for (call, value) in in_line.into_iter().zip(["one", "two"]) {
            match call.await {
                Ok(_) => written.push(value),
                Err(error) => assert_eq!(error.outcome(), Outcome::NotWritten, "at poll {polls}: {error:?}"),
            }
        }
        assert_eq!(cluster.log(TOPIC, 0).unwrap().values().unwrap(), written, "dropped at poll {polls}");
        assert_eq!(written, ["one", "two"], "what is in line is written first");
        log.produce([record("late")]).await.unwrap_err();
        if done {
            return polls;
        }
        assert!(polls < 500);
    }
    unreachable!("it ends, or the limit is reached")
}
