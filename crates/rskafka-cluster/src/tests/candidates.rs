//! Which broker is asked for metadata, and what is kept for the addresses of brokers.

use std::collections::BTreeSet;

use tokio::time::sleep;

use super::*;
use crate::refresh;

async fn look(cluster: &Cluster) {
    cluster.ask_any(&refresh::request(Some(&[])), after(millis(5000))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_with_an_open_connection_is_asked_before_another_is_dialled() {
    let (_fake, cluster, net) = connected(fake(), 3).await;
    for _ in 0..20 {
        look(&cluster).await;
    }
    assert_eq!(net.dialled(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn brokers_that_cannot_be_reached_are_asked_last() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    // They stay in the metadata.
    fake.miss_crashes_after(Duration::from_secs(3600));
    for id in [1, 2] {
        fake.stop_broker(id).await.unwrap();
        let address = cluster.address(&Endpoint::new(format!("broker-{id}"), 9092));
        let dialled = Lane::default().connection(&cluster, &address, Some(id), after(millis(1000))).await;
        dialled.unwrap_err();
    }
    for _ in 0..10 {
        fake.cut_connections(3).unwrap();
        sleep(millis(1)).await;
        net.dialled();
        look(&cluster).await;
        assert_eq!(net.dialled(), ["broker-3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_all_ask_the_same_broker() {
    let fake = start(fake(), 3).await;
    let mut asked = BTreeSet::new();
    for seed in 0..20 {
        let net = Net::of(&fake);
        net.lead("bootstrap", &fake, "broker-1");
        let cluster = connect(net.env(seed), config(&["bootstrap"])).await;
        net.dialled();
        look(&cluster).await;
        asked.extend(net.dialled());
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["broker-1", "broker-2", "broker-3"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_addresses_that_no_broker_has_any_more() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    for number in 0..20 {
        let host = format!("moved-{number}");
        net.lead(&host, &fake, "broker-1");
        fake.advertise_address(1, &host, 9092).unwrap();
        fake.cut_connections(1).unwrap();
        look(&cluster).await;
        let address = cluster.address(&Endpoint::new(host, 9092));
        address.control.connection(&cluster, &address, Some(1), after(millis(1000))).await.unwrap();
    }
    let known = (cluster.lock_addresses().len(), cluster.metadata().brokers().count());
    assert!(known.0 <= 3 && known.1 == 3, "{known:?}");
    sleep(millis(10)).await;
    assert!(fake.open_connections(1).unwrap() <= 2, "{}", fake.open_connections(1).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_left_the_cluster_is_forgotten() {
    let (fake, cluster, _) = connected(fake(), 3).await;
    fake.stop_broker(2).await.unwrap();
    look(&cluster).await;
    let known: Vec<_> = cluster.metadata().brokers().map(|broker| broker.id).collect();
    assert_eq!(known, [1, 3]);
}

/// Sends something to the controller; the first `refusals` answers are taken for the refusal of a broker that is not.
async fn ask_controller(cluster: &Cluster, refusals: u32) {
    let request = CreatePartitionsRequest::default();
    let call = Call { target: Node::Controller, via: Via::Control, deadline: after(millis(5000)) };
    let mut left = refusals;
    let judge = |_: Answer<'_, CreatePartitionsResponse, Broker>| {
        let is_refused = left > 0;
        left = left.saturating_sub(1);
        Learned::judged(if is_refused { ErrorCode::NOT_CONTROLLER } else { ErrorCode::NONE }, None, None, ())
    };
    cluster.send(call, |_, _| (request.clone(), CallOptions::new(call.deadline)), judge).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_controller_is_looked_for_once_after_each_refusal_and_not_otherwise() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    for refusals in [0, 1, 0, 3, 0] {
        fake.clear_requests();
        ask_controller(&cluster, refusals).await;
        assert_eq!(arrivals(&fake, ApiKey::METADATA).len(), refusals as usize);
        assert_eq!(arrivals(&fake, ApiKey::CREATE_PARTITIONS).len(), refusals as usize + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_that_hang_leave_time_to_ask_the_last_one() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    for id in [1, 2] {
        fake.isolate_broker(id).unwrap();
    }
    for _ in 0..10 {
        fake.cut_connections(3).unwrap();
        sleep(millis(1)).await;
        cluster.ask_any(&refresh::request(Some(&[])), after(millis(1500))).await.unwrap();
    }
    let hung = net.dialled().into_iter().filter(|host| host != "broker-3").count();
    assert!(hung > 0, "no broker that hangs was asked first");
}
