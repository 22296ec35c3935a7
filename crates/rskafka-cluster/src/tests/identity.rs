//! What is kept after another cluster has answered, or a broker has sent the client back to the start.

use rskafka_fake::Fault;
use tokio::time::sleep;

use super::*;
use crate::{Failure, refresh};

/// All that is kept of a cluster.
fn kept(cluster: &Cluster) -> (Vec<Broker>, Option<Broker>, String, Vec<Endpoint>) {
    let addresses = cluster.lock_addresses().keys().cloned().collect();
    let metadata = cluster.metadata();
    let leader = format!("{:?}", metadata.leader(TOPIC, 0));
    (metadata.brokers().cloned().collect(), metadata.controller().cloned(), leader, addresses)
}

fn is_of_another_cluster(failure: &Failure) -> bool {
    match failure {
        Failure::OtherCluster { .. } => true,
        Failure::NoReachableBroker { causes } => {
            causes.0.iter().all(|(_, failure)| is_of_another_cluster(failure))
        }
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_another_cluster_says_is_kept() {
    let (ours, cluster, net) = connected(fake().seed(1), 1).await;
    // More brokers, with the partition's leader on one that we do not have.
    let other = start(fake().seed(2), 3).await;
    other.move_leader(TOPIC, 0, 3).unwrap();
    cluster.route(LEADER, after(millis(1000))).await.unwrap();
    let before = kept(&cluster);

    net.lead("broker-1", &other, "broker-1");
    ours.cut_connections(1).unwrap();
    sleep(millis(1)).await;
    let error = cluster.topic(TOPIC, after(millis(0)), after(millis(3000))).await.unwrap_err();
    assert!(is_of_another_cluster(&error.failure), "{error:?}");
    let error = ask_leader(&cluster, &Lane::default(), after(millis(3000))).await.unwrap_err();
    assert!(is_of_another_cluster(&error.failure), "{error:?}");
    assert_eq!(kept(&cluster).0, before.0);
    assert_eq!(kept(&cluster).1, before.1);
    assert_eq!(kept(&cluster).3, before.3);
    let dialled = net.dialled();
    assert!(dialled.iter().all(|host| host == "broker-1"), "no broker of the other cluster is dialled");
    // In two calls of 3 s, with pauses that grow to 1 s.
    assert!(dialled.len() <= 30, "{} dials", dialled.len());

    net.lead("broker-1", &ours, "broker-1");
    ask_leader(&cluster, &Lane::default(), after(millis(3000))).await.unwrap();
    assert_eq!(kept(&cluster), before);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_sent_back_to_the_start_does_not_join_another_cluster() {
    let ours = start(fake().seed(1), 3).await;
    let other = start(fake().seed(2), 3).await;
    let net = Net::of(&ours);
    net.lead("bootstrap", &ours, "broker-1");
    let cluster = connect(net.env(1), config(&["bootstrap"])).await;
    ask_leader(&cluster, &Lane::default(), after(millis(1000))).await.unwrap();

    net.lead("bootstrap", &other, "broker-1");
    let sent_back = ours.inject(Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(ApiKey::METADATA).times(1));
    other.clear_requests();
    for _ in 0..3 {
        let error = cluster.topic(TOPIC, after(millis(0)), after(millis(3000))).await.unwrap_err();
        let Failure::NoReachableBroker { causes } = &error.failure else { panic!("{error:?}") };
        assert!(is_of_another_cluster(&causes.0.last().unwrap().1), "{error:?}");
    }
    assert_eq!(ours.struck(sent_back), 1);
    assert_eq!(kept(&cluster).0, [], "the brokers known before are forgotten, and no others are taken in");
    let error = ask_leader(&cluster, &Lane::default(), after(millis(1000))).await.unwrap_err();
    assert!(!error.attempts.may_be_applied, "{error:?}");
    assert_eq!(arrivals(&other, ApiKey::LIST_OFFSETS), [], "nothing of the topic is asked there");

    net.lead("bootstrap", &ours, "broker-2");
    ask_leader(&cluster, &Lane::default(), after(millis(3000))).await.unwrap();
    assert_eq!(kept(&cluster).0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_sent_back_to_the_start_keeps_the_pauses_of_addresses_that_fail() {
    let (fake, cluster, net) = connected(fake(), 2).await;
    fake.miss_crashes_after(Duration::from_secs(3600));
    fake.stop_broker(2).await.unwrap();
    let sent_back = Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(ApiKey::METADATA).at_broker(1).always();
    fake.inject(sent_back);
    let address = cluster.address(&Endpoint::new("broker-2", 9092));
    let mut dials = 0;
    let until = now() + Duration::from_secs(8);
    while now() < until {
        let dialled = Lane::default().connection(&cluster, &address, Some(2), after(millis(5000))).await;
        dialled.unwrap_err();
        cluster.ask_any(&refresh::request(Some(&[])), after(millis(100))).await.unwrap_err();
        dials += net.dialled().iter().filter(|host| *host == "broker-2").count();
        sleep(millis(10)).await;
    }
    // After pauses of 50 ms to 1 s.
    assert!(dials <= 16, "{dials} dials");
}

#[tokio::test(start_paused = true)]
async fn one_round_of_questions_begins_again_only_once() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    // So that a round without end comes to one.
    let sent_back =
        fake.inject(Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(ApiKey::METADATA).times(100));
    let failure = cluster.ask_any(&refresh::request(Some(&[TOPIC])), after(millis(3000))).await.unwrap_err();
    assert!(failure.is_transient(), "{failure}");
    // One of the brokers known, then each of the three that the client was built from.
    assert_eq!((fake.struck(sent_back), net.dialled().len()), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_only_sends_back_to_the_start_is_asked_less_and_less_often() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    let sent_back = Fault::answer(ErrorCode::REBOOTSTRAP_REQUIRED).on(ApiKey::METADATA).times(1000);
    let sent_back = fake.inject(sent_back);
    let error = cluster.topic(TOPIC, after(millis(0)), after(millis(8000))).await.unwrap_err();
    assert!(error.attempts.out_of_time && (9..=13).contains(&error.attempts.count), "{error:?}");
    assert!(fake.struck(sent_back) <= 4 * 13, "{} times", fake.struck(sent_back));
    assert!(net.dialled().len() <= 4 * 13);
    let open: usize = (1..=3).map(|broker| fake.open_connections(broker).unwrap()).sum();
    assert!(open <= 3, "{open} connections are left");
    fake.clear_faults();
    ask_leader(&cluster, &Lane::default(), after(millis(1000))).await.unwrap();
}
