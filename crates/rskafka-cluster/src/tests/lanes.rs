//! Several callers on one lane, and what a lane keeps.

use tokio::time::sleep;

use super::*;

/// The lane's connection to a broker, asked for on a task of its own.
fn connecting(
    cluster: &Cluster,
    lane: &Arc<Lane>,
    broker: i32,
    time: Duration,
) -> tokio::task::JoinHandle<Result<rskafka_transport::Connection, Failure>> {
    let (cluster, lane, deadline) = (cluster.clone(), lane.clone(), after(time));
    tokio::spawn(async move {
        let address = cluster.address(&Endpoint::new(format!("broker-{broker}"), 9092));
        lane.connection(&cluster, &address, Some(broker), deadline).await
    })
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_one_broker_is_not_reported_for_another() {
    let fake = start(fake(), 2).await;
    let net = Net::of(&fake);
    let mut config = config(&["broker-2"]);
    config.connection.connect_timeout = millis(500);
    let cluster = connect(net.env(1), config).await;
    fake.isolate_broker(1).unwrap();
    let lane = Arc::new(Lane::default());
    let started = now();
    let first = connecting(&cluster, &lane, 1, millis(5000));
    sleep(millis(1)).await;
    // The leader has moved meanwhile.
    let second = connecting(&cluster, &lane, 2, millis(5000));
    let third = connecting(&cluster, &lane, 2, millis(5000));
    first.await.unwrap().unwrap_err();
    for connection in [second, third] {
        assert_eq!(connection.await.unwrap().unwrap().endpoint().host, "broker-2");
    }
    assert!(started.elapsed() <= millis(510), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_holds_up_no_call_to_another_broker_on_its_lane() {
    let (fake, cluster, _) = connected(fake(), 2).await;
    fake.isolate_broker(1).unwrap();
    let lane = Arc::new(Lane::default());
    let first = connecting(&cluster, &lane, 1, millis(5000));
    sleep(millis(1)).await;
    let started = now();
    connecting(&cluster, &lane, 2, millis(5000)).await.unwrap().unwrap();
    assert!(started.elapsed() <= millis(1), "{:?}", started.elapsed());
    fake.rejoin_broker(1).unwrap();
    assert_eq!(first.await.unwrap().unwrap().endpoint().host, "broker-1", "it is still waited for");
    let kept = connecting(&cluster, &lane, 2, millis(0)).await.unwrap().unwrap();
    assert_eq!(kept.endpoint().host, "broker-2");
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_one_dial_share_its_failure() {
    let (fake, cluster, net) = connected(fake(), 2).await;
    let lane = Arc::new(Lane::default());
    let timeout = cluster.config().connection.connect_timeout;
    fake.isolate_broker(1).unwrap();
    let calls: Vec<_> = (0..10).map(|_| connecting(&cluster, &lane, 1, timeout * 5)).collect();
    let started = now();
    for call in calls {
        call.await.unwrap().unwrap_err();
    }
    assert_eq!(net.dialled(), ["broker-1"]);
    assert!(started.elapsed() <= timeout + millis(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_patient_caller_gets_the_connection_that_a_hasty_one_before_it_had_no_time_for() {
    let (fake, cluster, net) = connected(fake(), 2).await;
    let lane = Arc::new(Lane::default());
    fake.isolate_broker(1).unwrap();
    let hasty = connecting(&cluster, &lane, 1, millis(200));
    sleep(millis(1)).await;
    let patient = connecting(&cluster, &lane, 1, millis(5000));
    assert!(hasty.await.unwrap().unwrap_err().nature() == Nature::TimedOut);
    sleep(millis(300)).await;
    fake.rejoin_broker(1).unwrap();
    patient.await.unwrap().unwrap();
    assert_eq!(net.dialled(), ["broker-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_hasty_caller_at_an_address_that_fails_already_fails_no_patient_one_behind_it() {
    let (fake, cluster, net) = connected(fake(), 2).await;
    let lane = Arc::new(Lane::default());
    // It stays in the metadata.
    fake.miss_crashes_after(Duration::from_secs(3600));
    fake.stop_broker(1).await.unwrap();
    for _ in 0..6 {
        connecting(&cluster, &lane, 1, millis(5000)).await.unwrap().unwrap_err();
    }
    fake.start_broker(1).await.unwrap();
    net.dialled();
    // The next dial begins in 0.8 s at the earliest.
    let hasty = connecting(&cluster, &lane, 1, millis(20));
    let patient = connecting(&cluster, &lane, 1, millis(5000));
    let failure = hasty.await.unwrap().unwrap_err();
    assert!(matches!(failure, Failure::Open { .. }), "it says why the address fails: {failure}");
    patient.await.unwrap().unwrap();
    assert_eq!(net.dialled(), ["broker-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dial_goes_on_without_its_caller_and_ends_with_its_lane_or_cluster() {
    for is_kept in [true, false] {
        let (fake, cluster, _) = connected(fake(), 1).await;
        let lane = Arc::new(Lane::default());
        fake.isolate_broker(1).unwrap();
        let address = cluster.address(&Endpoint::new("broker-1", 9092));
        for lane in [&*lane, &address.produce] {
            lane.connection(&cluster, &address, Some(1), after(millis(100))).await.unwrap_err();
        }
        drop(address);
        let kept = is_kept.then_some((lane, cluster));
        sleep(millis(1)).await;
        fake.rejoin_broker(1).unwrap();
        sleep(millis(100)).await;
        assert_eq!(fake.open_connections(1).unwrap(), if is_kept { 3 } else { 0 });
        drop(kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_is_not_kept_by_a_lane_that_nobody_uses() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    let lane = Arc::new(Lane::default());
    let connection = connecting(&cluster, &lane, 1, millis(1000)).await.unwrap().unwrap();
    let kept = connection.downgrade();
    drop(connection);
    sleep(millis(1)).await;
    assert!(kept.upgrade().is_some(), "the lane keeps it open");
    fake.cut_connections(1).unwrap();
    sleep(millis(1)).await;
    assert!(kept.upgrade().is_none());
}
