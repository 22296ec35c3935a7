//! Futures dropped at every await: nothing is hurt.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rskafka::client::{Client, OffsetAt, PartitionClient};

use super::{Brokers, new_log, read_all, record, values};

/// Polls a future whenever it wants to be, up to `polls` times, and drops it: for odd numbers at once, for even
/// ones after everybody else has gone on as far as possible. Gives whether it completed.
pub async fn poll_times<F: Future>(polls: usize, future: F) -> bool {
    let mut future = Box::pin(future);
    let mut left = polls.div_ceil(2);
    let done = poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if polls.is_multiple_of(2) {
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    done
}

/// Drops the call that `call` makes at poll 1, 2, 3, … until it completes; the log works after each.
async fn drop_at_every_poll<F: Future>(
    brokers: &Brokers,
    name: &str,
    mut call: impl FnMut(Client, PartitionClient) -> F,
) {
    let (client, log) = new_log(brokers, name).await;
    for polls in 1..500 {
        let done = poll_times(polls, call(client.clone(), log.clone())).await;
        log.produce([record(polls.to_string())]).await.unwrap();
        let read = values(&read_all(&log).await);
        let count = |value: &str| read.iter().filter(|read| *read == value).count();
        assert_eq!(count(&polls.to_string()), 1, "{name} dropped at poll {polls}");
        assert!(count("dropped") <= polls, "{name} dropped at poll {polls}");
        if done {
            return;
        }
    }
    panic!("{name} does not come to its end");
}

pub async fn calls_dropped_at_every_poll_hurt_nothing(brokers: Brokers) {
    let brokers = &brokers;
    drop_at_every_poll(brokers, "produce", |_, log| async move { log.produce([record("dropped")]).await })
        .await;
    drop_at_every_poll(brokers, "fetch", |_, log| async move { log.fetch_records(0, 1..1_000_000, 1).await })
        .await;
    drop_at_every_poll(brokers, "offset", |_, log| async move { log.get_offset(OffsetAt::Latest).await })
        .await;
    drop_at_every_poll(brokers, "partition", |client, log| async move {
        client.partition_client(log.topic(), 0).await
    })
    .await;
}
