//! Clients that do not find or reach brokers: isolation, addresses, old metadata, idle connections.

use std::time::Duration;

use rskafka_fake::{FakeCluster, Fault, Profile};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, timeout};

use super::Stage;
use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_isolated_broker_gets_no_byte_and_sends_none_and_connecting_waits() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        let cluster = &stage.cluster;
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let mut late = stage.client(1).await;
        // An answer is on its way when the network breaks.
        cluster.inject(Fault::delay(SECOND).on(ApiKey::PRODUCE));
        let answered = stage.send_append(&mut client, &topic, batch(["answer lost for a while"])).await;
        stage.appends_taken(1).await;
        cluster.isolate_broker(1).unwrap();
        let asked = stage.send_append(&mut late, &topic, batch(["request held"])).await;
        let connecting = cluster.connect("broker-1", 9092);
        tokio::pin!(connecting);
        assert!(timeout(60 * SECOND, &mut connecting).await.is_err(), "{profile}: it hangs");
        assert!(timeout(60 * SECOND, client.frame()).await.is_err(), "{profile}: no answer comes back");
        assert_eq!(stage.values(), ["answer lost for a while"], "{profile}: no request arrives");
        let other = stage.client(2).await.call(1, &MetadataRequest::default()).await;
        assert_eq!(other.brokers.len(), 2, "{profile}: its fellows reach it");

        cluster.rejoin_broker(1).unwrap();
        assert_eq!(stage.appended(&mut client, answered).await.base_offset, 0, "{profile}");
        assert_eq!(stage.appended(&mut late, asked).await.base_offset, 1, "{profile}");
        RawClient::over(connecting.await.unwrap()).call(1, &MetadataRequest::default()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_is_isolated_from_a_broker_and_others_are_not() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        let cluster = &stage.cluster;
        let mut clients = Vec::new();
        for name in ["writer", "reader"] {
            let stream = cluster.connect_as(name, "broker-1", 9092).await.unwrap();
            clients.push(RawClient::over(stream));
        }
        cluster.isolate_client("writer", 1).unwrap();
        for (client, is_served) in clients.iter_mut().zip([false, true]) {
            client.send(1, &MetadataRequest::default()).await;
            let answer = timeout(60 * SECOND, client.frame()).await;
            assert_eq!(answer.is_ok(), is_served, "{profile}");
        }
        assert!(timeout(SECOND, cluster.connect_as("writer", "broker-1", 9092)).await.is_err());
        assert!(timeout(SECOND, cluster.connect_as("writer", "broker-2", 9092)).await.is_ok());
        assert!(timeout(SECOND, cluster.connect_as("reader", "broker-1", 9092)).await.is_ok());
        assert!(timeout(SECOND, cluster.connect("broker-1", 9092)).await.is_ok(), "nor one without name");
        cluster.rejoin_broker(1).unwrap();
        assert!(clients[0].frame().await.is_some(), "{profile}: what was on its way arrives");
    }
}

#[tokio::test]
async fn over_tcp_nothing_comes_through_to_an_isolated_broker() {
    let cluster = crate::support::fake().start().await.unwrap();
    let address = cluster.bootstrap_servers()[0].clone();
    let mut open = RawClient::tcp(&address).await;
    open.call(1, &MetadataRequest::default()).await;
    cluster.isolate_broker(1).unwrap();
    let mut new = RawClient::tcp(&address).await;
    for client in [&mut open, &mut new] {
        client.send(1, &MetadataRequest::default()).await;
        assert!(timeout(Duration::from_millis(50), client.frame()).await.is_err());
    }
    assert_eq!(cluster.requests().len(), 1);
    cluster.rejoin_broker(1).unwrap();
    for client in [&mut open, &mut new] {
        assert!(client.frame().await.is_some());
    }
}

fn hosts(metadata: &MetadataResponse) -> Vec<(i32, String)> {
    metadata
        .brokers
        .iter()
        .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
        .collect()
}

#[tokio::test]
async fn after_a_swap_of_addresses_who_connects_to_one_broker_gets_to_the_other() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 3).await;
        let cluster = &stage.cluster;
        let topic = stage.topic(3);
        let mut old = stage.client(1).await;
        assert_eq!(stage.append(&mut old, &topic, batch(["a"])).await, Ok(0));
        cluster.swap_addresses(1, 2).await.unwrap();
        assert!(old.is_closed().await, "{profile}");
        assert_eq!(cluster.leader("t", 0).unwrap(), Some(1), "only the addresses changed");

        // A client that uses broker 1's old address reaches broker 2, which answers with the current state.
        let mut astray = stage.client(1).await;
        let refused = stage.append(&mut astray, &topic, batch(["b"])).await;
        assert_eq!(refused, Err(ErrorCode::NOT_LEADER_OR_FOLLOWER), "{profile}");
        let metadata = stage.metadata(&mut astray).await;
        let expected = [(1, "broker-2:9092"), (2, "broker-1:9092"), (3, "broker-3:9092")];
        let expected = expected.map(|(id, host)| (id, host.to_owned()));
        assert_eq!(hosts(&metadata), expected, "{profile}");
        let mut found = stage.client(2).await;
        assert_eq!(stage.append(&mut found, &topic, batch(["b"])).await, Ok(1), "{profile}");

        // A broker keeps its new address after a restart.
        cluster.stop_broker(1).await.unwrap();
        assert!(cluster.connect("broker-2", 9092).await.is_err());
        cluster.connect("broker-1", 9092).await.unwrap();
        cluster.start_broker(1).await.unwrap();
        cluster.connect("broker-2", 9092).await.unwrap();
    }
}

#[tokio::test]
async fn over_tcp_brokers_exchange_their_ports_whether_they_run_or_not() {
    let cluster = crate::support::fake().brokers(2).start().await.unwrap();
    let before = cluster.bootstrap_servers();
    cluster.stop_broker(2).await.unwrap();
    cluster.swap_addresses(1, 2).await.unwrap();
    assert_eq!(cluster.bootstrap_servers(), [before[1].clone(), before[0].clone()]);
    let refused = tokio::net::TcpStream::connect(&before[0]).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let mut client = RawClient::tcp(&before[1]).await;
    client.call(1, &MetadataRequest::default()).await;
    assert_eq!(cluster.requests()[0].broker, 1);
    cluster.start_broker(2).await.unwrap();
    RawClient::tcp(&before[0]).await.call(1, &MetadataRequest::default()).await;
    assert_eq!(cluster.requests()[1].broker, 2);
}

#[tokio::test]
async fn brokers_can_be_advertised_where_they_are_not() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 2).await;
        let topic = stage.topic(2);
        // First each under the other's address, then under an address without a broker.
        for (first, second) in [("broker-2", "broker-1"), ("nowhere", "broker-2")] {
            stage.cluster.advertise_address(1, first, 9092).unwrap();
            stage.cluster.advertise_address(2, second, 9092).unwrap();
            let metadata = stage.metadata(&mut stage.client(1).await).await;
            let expected = [(1, format!("{first}:9092")), (2, format!("{second}:9092"))];
            assert_eq!(hosts(&metadata), expected, "{profile}");
        }
        assert_eq!(stage.cluster.bootstrap_servers(), ["broker-1:9092", "broker-2:9092"], "where they are");
        let mut client = stage.client(2).await;
        let version = stage.newest::<ProduceRequest>().unwrap();
        if version >= 10 {
            let request = produce_request(&topic, 0, -1, Some(batch(["a"])));
            let answer = client.call(version, &request).await;
            assert_eq!(answer.node_endpoints[0].host, "nowhere", "{profile}: a refusal says the same");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_but_not_one_on_which_something_happens() {
    for profile in Profile::ALL {
        for (setting, idle) in [(None, 600), (Some("30000"), 30)] {
            let mut builder = FakeCluster::builder().in_memory();
            if let Some(setting) = setting {
                builder = builder.config("connections.max.idle.ms", setting);
            }
            let stage = Stage::with(profile, builder).await;
            let mut client = stage.client(1).await;
            let start = Instant::now();
            for _ in 0..3 {
                tokio::time::sleep((idle - 1) * SECOND).await;
                client.call(1, &MetadataRequest::default()).await;
            }
            // A request that takes longer than that to arrive.
            let request = rskafka_protocol::encode_request(&MetadataRequest::default(), 1, 0, None).unwrap();
            for byte in request.to_bytes().iter() {
                tokio::time::sleep((idle - 1) * SECOND).await;
                client.send_bytes(&[*byte]).await;
            }
            assert!(client.frame().await.is_some(), "{profile}");
            let quiet = Instant::now();
            assert!(client.is_closed().await, "{profile}");
            assert!(quiet.elapsed() <= 2 * idle * SECOND && quiet.elapsed() >= idle * SECOND, "{profile}");
            assert!(start.elapsed() > 20 * idle * SECOND);
            assert_eq!(stage.cluster.open_connections(1).unwrap(), 0);
        }
        let builder = FakeCluster::builder().in_memory().config("connections.max.idle.ms", "-1");
        let stage = Stage::with(profile, builder).await;
        let mut client = stage.client(1).await;
        tokio::time::sleep(100_000 * SECOND).await;
        client.call(1, &MetadataRequest::default()).await;
    }
}
