//! The way to one address, where callers differ in how long they can wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use rskafka_fake::Fault;
use tokio::time::{sleep, timeout};

use super::*;
use crate::gate::Gate;

const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(50), max: Duration::from_secs(1) };

fn gate() -> (Arc<Gate>, Env) {
    (Arc::default(), Env::builder().random_seed(1).build())
}

async fn fail(gate: &Gate, env: &Env) {
    gate.pass(&Endpoint::new("broker", 9092), env, BACKOFF, async {
        Err::<(), _>(Failure::NoLeader { code: None })
    })
    .await
    .unwrap_err();
}

async fn succeed(gate: &Gate, env: &Env) {
    gate.pass(&Endpoint::new("broker", 9092), env, BACKOFF, async { Ok(()) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_given_up_says_nothing_about_the_address() {
    let (gate, env) = gate();
    let mut hasty = Vec::new();
    // More than may dial at once, so that the patient caller has to wait for its turn.
    for _ in 0..16 {
        let (gate, env) = (gate.clone(), env.clone());
        hasty.push(tokio::spawn(async move {
            let hangs = std::future::pending::<Result<(), _>>();
            timeout(millis(100), gate.pass(&Endpoint::new("broker", 9092), &env, BACKOFF, hangs))
                .await
                .unwrap_err();
        }));
    }
    sleep(millis(1)).await;
    let started = now();
    succeed(&gate, &env).await;
    assert!(started.elapsed() <= millis(100), "{:?}", started.elapsed());
    for hasty in hasty {
        hasty.await.unwrap();
    }
    assert!(gate.failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_an_address_is_tried_again_after_a_pause_which_a_success_ends() {
    let (gate, env) = gate();
    for _ in 0..6 {
        fail(&gate, &env).await;
    }
    let failed_at = now();
    assert!(gate.failure().is_some());
    succeed(&gate, &env).await;
    assert!(failed_at.elapsed() >= millis(800), "{:?}", failed_at.elapsed());
    assert!(gate.failure().is_none());
    fail(&gate, &env).await;
    let failed_at = now();
    succeed(&gate, &env).await;
    assert!((millis(40)..=millis(62)).contains(&failed_at.elapsed()), "{:?}", failed_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn once_an_address_works_again_all_that_wait_for_it_connect_side_by_side() {
    let (gate, env) = gate();
    fail(&gate, &env).await;
    let failed_at = now();
    let waiting: Vec<_> = (0..17)
        .map(|_| {
            let (gate, env) = (gate.clone(), env.clone());
            let opening = async {
                sleep(millis(100)).await;
                Ok(())
            };
            tokio::spawn(
                async move { gate.pass(&Endpoint::new("broker", 9092), &env, BACKOFF, opening).await },
            )
        })
        .collect();
    for passing in waiting {
        passing.await.unwrap().unwrap();
    }
    // The pause, one dial alone, and then two times eight.
    let elapsed = failed_at.elapsed();
    assert!((millis(340)..=millis(370)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn while_an_address_fails_one_dial_at_a_time_is_made_and_all_that_wait_get_its_failure() {
    let (gate, env) = gate();
    fail(&gate, &env).await;
    let dials = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (gate, env, dials) = (gate.clone(), env.clone(), dials.clone());
            let opening = async move {
                dials.fetch_add(1, Ordering::Relaxed);
                sleep(millis(100)).await;
                Err::<(), _>(Failure::NoLeader { code: None })
            };
            tokio::spawn(
                async move { gate.pass(&Endpoint::new("broker", 9092), &env, BACKOFF, opening).await },
            )
        })
        .collect();
    for passing in waiting {
        passing.await.unwrap().unwrap_err();
    }
    assert_eq!(dials.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_patient_caller_gets_through_at_once_after_hasty_ones_before_it_failed() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    cluster.route(LEADER, after(millis(1000))).await.unwrap();
    fake.isolate_broker(1).unwrap();
    let ask = |time: u64| {
        let cluster = cluster.clone();
        tokio::spawn(async move { ask_leader(&cluster, &Lane::default(), after(millis(time))).await })
    };
    let hasty: Vec<_> = (0..20).map(|_| ask(200)).collect();
    sleep(millis(1)).await;
    let patient = ask(8000);
    for hasty in hasty {
        assert!(hasty.await.unwrap().unwrap_err().attempts.out_of_time);
    }
    sleep(millis(300)).await;
    let back_at = now();
    fake.rejoin_broker(1).unwrap();
    patient.await.unwrap().unwrap();
    assert!(back_at.elapsed() <= millis(5), "{:?}", back_at.elapsed());
}

/// Asks for metadata over a new connection to a broker that does not say to which cluster it belongs.
async fn ask_a_silent_broker(request_timeout: Duration, time: Duration) -> (FakeCluster, Cluster) {
    let fake = start(fake().advertise(ApiKey::API_VERSIONS, 0..=4), 2).await;
    let net = Net::of(&fake);
    let mut config = config(&["broker-2"]);
    config.connection.request_timeout = request_timeout;
    let cluster = connect(net.env(1), config).await;
    fake.inject(Fault::swallow().on(ApiKey::METADATA).at_broker(1).always());
    let address = cluster.address(&Endpoint::new("broker-1", 9092));
    address.control.connection(&cluster, &address, Some(1), after(time)).await.unwrap_err();
    (fake, cluster)
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_say_to_which_cluster_it_belongs_fails_whatever_ends_the_wait_for_it() {
    // The request's own timeout; the caller's deadline; the connect timeout.
    for (request_timeout, time) in
        [(500, 60_000), (30_000, 500), (30_000, 60_000)].map(|(a, b)| (millis(a), millis(b)))
    {
        let (_fake, cluster) = ask_a_silent_broker(request_timeout, time).await;
        sleep(cluster.config().connection.connect_timeout).await;
        let address = cluster.address(&Endpoint::new("broker-1", 9092));
        assert!(address.site.gate.failure().is_some(), "{request_timeout:?}, {time:?}");
    }
}
