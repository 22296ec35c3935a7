//! What an ordered caller relies on: a lease is one connection, and a call on it is one attempt.

use rskafka_fake::Fault;
use tokio::time::sleep;

use super::*;

fn attempts(cluster: &Cluster) -> Attempts {
    cluster.attempts(ApiKey::LIST_OFFSETS, LEADER, after(millis(5000)))
}

/// The leader, and a lease of a connection to it.
async fn reach(cluster: &Cluster, via: Via<'_>, attempts: &mut Attempts) -> (Leader, Result<Lease, Failure>) {
    let leader = cluster.locate(LEADER, attempts).await.unwrap();
    let lease = cluster.lease::<LeaderOf<'_>>(&leader, via, attempts).await;
    (leader, lease)
}

async fn lease(cluster: &Cluster, lane: &Lane) -> Lease {
    reach(cluster, Via::Own(lane), &mut attempts(cluster)).await.1.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_call_on_a_lease_is_one_attempt_whatever_becomes_of_it() {
    let lost = || Fault::close().on(ApiKey::LIST_OFFSETS);
    let refused = || Fault::answer(ErrorCode::OFFSET_NOT_AVAILABLE).on(ApiKey::LIST_OFFSETS);
    for fault in [lost(), refused()] {
        let (fake, cluster, net) = connected(fake(), 1).await;
        let lease = lease(&cluster, &Lane::default()).await;
        fake.inject(fault);
        net.dialled();
        let _ = lease.call(&end_of_log(), CallOptions::new(after(millis(5000)))).await;
        assert_eq!((arrivals(&fake, ApiKey::LIST_OFFSETS).len(), net.dialled()), (1, vec![]));
    }
    // Also where it is sure that not a byte was sent.
    let (fake, cluster, net) = connected(fake(), 1).await;
    let lease = lease(&cluster, &Lane::default()).await;
    fake.cut_connections(1).unwrap();
    net.dialled();
    lease.call(&end_of_log(), CallOptions::new(after(millis(5000)))).await.unwrap_err();
    assert_eq!((arrivals(&fake, ApiKey::LIST_OFFSETS).len(), net.dialled()), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_never_another_connection_though_its_lane_has_one() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    let lane = Lane::default();
    let first = lease(&cluster, &lane).await;
    fake.cut_connections(1).unwrap();
    sleep(millis(1)).await;
    let second = lease(&cluster, &lane).await;
    let failure = first.call(&end_of_log(), CallOptions::new(after(millis(5000)))).await.unwrap_err();
    assert!(failure.is_unsent_close(), "{failure}");
    assert_eq!(arrivals(&fake, ApiKey::LIST_OFFSETS), []);
    second.call(&end_of_log(), CallOptions::new(after(millis(5000)))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_broker_without_a_connection_tells_its_route_and_why() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    cluster.route(LEADER, after(millis(1000))).await.unwrap();
    fake.stop_broker(1).await.unwrap();
    let mut attempts = attempts(&cluster);
    let (route, lease) = reach(&cluster, Via::Control, &mut attempts).await;
    assert_eq!((route.broker.id, attempts.count), (1, 1));
    let failure = lease.unwrap_err();
    assert!(matches!(failure, Failure::Call { .. } | Failure::Open { .. }), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_current_until_another_leader_is_known_or_its_connection_has_ended() {
    let (fake, cluster, _) = connected(fake(), 3).await;
    let lane = Lane::default();
    let (leader, lease) = reach(&cluster, Via::Own(&lane), &mut attempts(&cluster)).await;
    let mut lease = lease.unwrap();
    let mut is_current = |leader: &Leader| cluster.is_current(LEADER, Via::Own(&lane), leader, &mut lease);
    assert!(is_current(&leader) && is_current(&leader));
    // What changes something else does not end it.
    cluster.mark_stale(TOPIC);
    assert!(is_current(&leader));
    let other = leader.broker.id % 3 + 1;
    fake.move_leader(TOPIC, 0, other).unwrap();
    assert!(is_current(&leader));
    let moved = cluster.route(LEADER, after(millis(5000))).await.unwrap();
    assert_eq!(moved.broker.id, other);
    assert!(!is_current(&leader) && !is_current(&leader));

    let (leader, lease) = reach(&cluster, Via::Own(&lane), &mut attempts(&cluster)).await;
    let mut lease = lease.unwrap();
    assert!(cluster.is_current(LEADER, Via::Own(&lane), &leader, &mut lease));
    fake.cut_connections(other).unwrap();
    sleep(millis(1)).await;
    assert!(!cluster.is_current(LEADER, Via::Own(&lane), &leader, &mut lease));
}
