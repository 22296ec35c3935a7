//! Leaders that move.

use rskafka::client::OffsetAt;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::protocol::ErrorCode;

use super::common::{read_all, record, values};
use super::kit::{TOPIC, start};

#[tokio::test(start_paused = true)]
async fn reading_follows_the_leader() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("one")]).await.unwrap();
    for broker in [2, 3, 1, 2] {
        cluster.move_leader(TOPIC, 0, broker).unwrap();
        assert_eq!(values(&read_all(&log).await), ["one"]);
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_produce_after_a_move_is_reported_and_the_next_finds_the_leader() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("one")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.move_leader(TOPIC, 0, old % 3 + 1).unwrap();
    let error = log.produce([record("two")]).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Broker(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::Unknown, true));
    assert_eq!(error.broker().and_then(|(id, _)| id), Some(old));
    assert_eq!(log.produce([record("three")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_leader_is_replaced_and_its_connections_with_it() {
    let (cluster, _, log) = start(3).await;
    log.produce([record("one")]).await.unwrap();
    let old = cluster.leader(TOPIC, 0).unwrap().unwrap();
    cluster.stop_broker(old).await.unwrap();
    // Nothing was in flight, so nothing is unknown: the append goes to the new leader.
    assert_eq!(log.produce([record("two")]).await.unwrap().base_offset, 1);
    assert_eq!(values(&read_all(&log).await), ["one", "two"]);
}
