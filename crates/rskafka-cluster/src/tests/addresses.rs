//! The way to one address, where callers differ in how long they can wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Failure;
use crate::gate::Gate;

#[tokio::test(start_paused = true)]
async fn an_attempt_cut_short_by_its_callers_deadline_says_nothing_about_the_address() {
    let (_fake, cluster, _) = connected(fake(), 1).await;
    let gate = Arc::new(Gate::default());
    let mut hasty = Vec::new();
    // More than may try at once, so that the patient caller has to wait for its turn.
    for _ in 0..16 {
        let (gate, cluster, deadline) = (gate.clone(), cluster.clone(), after(millis(100)));
        hasty.push(tokio::spawn(async move {
            let cut_short = async {
                tokio::time::sleep_until(deadline.instant()).await;
                Err::<(), _>(Failure::Waited)
            };
            gate.pass(&cluster, deadline, cut_short).await
        }));
    }
    tokio::time::sleep(millis(1)).await;
    let started = now();
    gate.pass(&cluster, after(millis(5000)), async { Ok(()) }).await.unwrap();
    assert!(started.elapsed() <= millis(100), "{:?}", started.elapsed());
    for hasty in hasty {
        assert!(hasty.await.unwrap().unwrap_err().is_timeout());
    }
    assert!(!gate.is_failing());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_had_all_its_time_does_say_that_the_address_fails() {
    let (_fake, cluster, _) = connected(fake(), 1).await;
    let gate = Gate::default();
    let timeout = cluster.config().connection.connect_timeout;
    let timed_out = async {
        tokio::time::sleep(timeout).await;
        Err::<(), _>(Failure::Waited)
    };
    gate.pass(&cluster, after(timeout * 2), timed_out).await.unwrap_err();
    assert!(gate.is_failing());
    let failed_at = now();
    gate.pass(&cluster, after(timeout), async { Ok(()) }).await.unwrap();
    assert!(failed_at.elapsed() >= millis(40), "it is tried again after a pause");
    assert!(!gate.is_failing());
}

#[tokio::test(start_paused = true)]
async fn a_patient_caller_gets_through_at_once_when_its_hasty_neighbours_gave_up_before() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    cluster.leader(TOPIC, 0, after(millis(1000))).await.unwrap();
    fake.isolate_broker(1).unwrap();
    let ask = |time: u64| {
        let cluster = cluster.clone();
        tokio::spawn(async move { ask_leader(&cluster, &Lane::new(), after(millis(time))).await })
    };
    let hasty: Vec<_> = (0..20).map(|_| ask(200)).collect();
    tokio::time::sleep(millis(1)).await;
    let patient = ask(8000);
    for hasty in hasty {
        assert!(hasty.await.unwrap().unwrap_err().is_timeout());
    }
    tokio::time::sleep(millis(300)).await;
    let back_at = now();
    fake.rejoin_broker(1).unwrap();
    patient.await.unwrap().unwrap();
    assert!(back_at.elapsed() <= millis(5), "{:?}", back_at.elapsed());
}

/// Lets attempts fail until one after `failures` works.
async fn fail(gate: &Gate, cluster: &Cluster, failures: u32) {
    for _ in 0..failures {
        gate.pass(cluster, after(millis(60_000)), async { Err::<(), _>(Failure::NoLeader) })
            .await
            .unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_success_pauses_begin_with_the_shortest_again() {
    let (_fake, cluster, _) = connected(fake(), 1).await;
    let gate = Gate::default();
    fail(&gate, &cluster, 6).await;
    gate.pass(&cluster, after(millis(5000)), async { Ok(()) }).await.unwrap();
    fail(&gate, &cluster, 1).await;
    let failed_at = now();
    gate.pass(&cluster, after(millis(5000)), async { Ok(()) }).await.unwrap();
    let pause = failed_at.elapsed();
    assert!((millis(40)..=millis(62)).contains(&pause), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn once_an_address_works_again_all_that_wait_for_it_connect_side_by_side() {
    let (_fake, cluster, _) = connected(fake(), 1).await;
    let gate = Arc::new(Gate::default());
    fail(&gate, &cluster, 1).await;
    let failed_at = now();
    let waiting: Vec<_> = (0..17)
        .map(|_| {
            let (gate, cluster) = (gate.clone(), cluster.clone());
            let opening = async {
                tokio::time::sleep(millis(100)).await;
                Ok(())
            };
            tokio::spawn(async move { gate.pass(&cluster, after(millis(5000)), opening).await })
        })
        .collect();
    for passing in waiting {
        passing.await.unwrap().unwrap();
    }
    // The pause, one attempt alone, and then two times eight.
    let elapsed = failed_at.elapsed();
    assert!((millis(340)..=millis(370)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn while_an_address_fails_one_attempt_at_a_time_is_made_and_all_that_wait_get_its_failure() {
    let (_fake, cluster, _) = connected(fake(), 1).await;
    let gate = Arc::new(Gate::default());
    fail(&gate, &cluster, 1).await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (gate, cluster, attempts) = (gate.clone(), cluster.clone(), attempts.clone());
            let opening = async move {
                attempts.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(millis(100)).await;
                Err::<(), _>(Failure::NoLeader)
            };
            tokio::spawn(async move { gate.pass(&cluster, after(millis(5000)), opening).await })
        })
        .collect();
    for passing in waiting {
        passing.await.unwrap().unwrap_err();
    }
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}
