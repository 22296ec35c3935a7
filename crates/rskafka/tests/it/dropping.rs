//! Futures dropped at every await: nothing is hurt.

use std::time::Duration;

use rskafka::client::error::Outcome;
use rskafka::client::{Client, OffsetAt, PartitionClient};
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, Fault};

use super::common::dropped::poll_times;
use super::common::{read_all, record, values};
use super::kit::{TOPIC, builder, fake, start};

/// Waits until all connections have ended.
async fn settle(cluster: &FakeCluster) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
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
        drop((client, log));
        settle(&cluster).await;
        assert_eq!(cluster.partial_frames(), 0, "{name} dropped at poll {polls}");
        if done {
            println!("{name}: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
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
        settle(&cluster).await;
        assert_eq!(cluster.partial_frames(), 0, "connect dropped at poll {polls}");
        let client = builder(&cluster).build().await.unwrap();
        client.partition_client(TOPIC, 0).await.unwrap().produce([record("after")]).await.unwrap();
        if done {
            println!("connect: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
            return;
        }
        assert!(polls < 500);
    }
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
    for polls in 1.. {
        let (cluster, client, log) = start(1).await;
        cluster.inject(Fault::delay(Duration::from_micros(500)).on(ApiKey::PRODUCE));
        let in_line = [log.produce([record("one")]), log.produce([record("two")])];
        let done = poll_times(polls, client.close()).await;
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
            println!("close: completes with poll {}, and was dropped at each before", polls.div_ceil(2));
            return;
        }
        assert!(polls < 500);
    }
}
