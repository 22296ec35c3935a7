//! Brokers that stop, start and end, over TCP and over pipes.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rskafka_fake::ControlError;
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn a_cluster_on_loopback_ports_appends_and_reads() {
    let cluster = fake().brokers(3).start().await.unwrap();
    let addresses = cluster.bootstrap_servers();
    assert_eq!(addresses.len(), 3);
    cluster.create_topic("t", 3, 1).unwrap();
    let topic = topic(&cluster, "t");
    for partition in 0..3 {
        let leader = cluster.leader("t", partition).unwrap().unwrap();
        let mut client = RawClient::tcp(&addresses[leader as usize - 1]).await.of(&cluster);
        let brokers = client.call(9, &MetadataRequest::default()).await.brokers;
        let advertised: Vec<_> =
            brokers.iter().map(|broker| format!("{}:{}", broker.host, broker.port)).collect();
        assert_eq!(advertised, addresses);
        // Several times what a socket's buffer holds.
        let large = vec![b'x'; 900_000];
        for _ in 0..10 {
            let answer = produce(&mut client, &topic, partition, batch([&large])).await;
            assert_eq!(answer.error_code, ErrorCode::NONE);
        }
        let mut request = fetch_request(&topic, partition, 0);
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        let data = fetched(client.call(12, &request).await);
        assert_eq!(records(&data).len(), 10);
        assert!(records(&data).iter().all(|(_, value)| *value == large));
    }
}

#[tokio::test]
async fn three_brokers_start_in_a_moment() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let cluster = fake().brokers(3).start().await.unwrap();
        best = best.min(start.elapsed());
        cluster.shutdown().await;
    }
    assert!(best < Duration::from_millis(10), "{best:?}");
}

#[tokio::test]
async fn a_stopped_broker_cuts_its_connections_and_refuses_new_ones() {
    let cluster = fake().brokers(3).start().await.unwrap();
    let address = cluster.bootstrap_servers()[1].clone();
    cluster.create_topic("t", 1, 3).unwrap();
    let topic = topic(&cluster, "t");
    cluster.move_leader("t", 0, 2).unwrap();
    let mut client = RawClient::tcp(&address).await.of(&cluster);
    produce(&mut client, &topic, 0, batch(["kept"])).await;

    cluster.stop_broker(2).await.unwrap();
    assert!(client.is_closed().await);
    assert_eq!(TcpStream::connect(&address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    assert_ne!(leader, 2);
    let mut other = RawClient::tcp(&cluster.bootstrap_servers()[leader as usize - 1]).await.of(&cluster);
    let metadata = other.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(metadata.brokers.len(), 2);
    let partition = only(only(metadata.topics).partitions);
    assert_eq!((partition.isr_nodes.len(), partition.offline_replicas), (2, vec![2]));

    cluster.start_broker(2).await.unwrap();
    assert_eq!(cluster.bootstrap_servers()[1], address);
    cluster.move_leader("t", 0, 2).unwrap();
    let mut client = RawClient::tcp(&address).await.of(&cluster);
    let data = fetch(&mut client, &topic, 0, 0).await;
    assert_eq!(records(&data), [(0, Bytes::from("kept"))]);
}

#[tokio::test]
async fn a_partition_whose_only_broker_stops_has_no_leader_until_it_starts() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    let epoch = cluster.leader_epoch("t", 0).unwrap();
    cluster.stop_broker(leader).await.unwrap();
    assert_eq!(cluster.leader("t", 0).unwrap(), None);
    let mut client = RawClient::pipe(&cluster, 3 - leader).await;
    let metadata = client.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    let partition = only(only(metadata.topics).partitions);
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    let error = cluster.connect(&format!("broker-{leader}"), 9092).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    cluster.start_broker(leader).await.unwrap();
    assert_eq!(cluster.leader("t", 0).unwrap(), Some(leader));
    assert!(cluster.leader_epoch("t", 0).unwrap() > epoch);
}

#[tokio::test]
async fn connections_are_counted_and_can_be_cut() {
    let cluster = cluster(2).await;
    let mut first = RawClient::pipe(&cluster, 1).await;
    let mut second = RawClient::pipe(&cluster, 2).await;
    first.call(9, &MetadataRequest::default()).await;
    second.call(9, &MetadataRequest::default()).await;
    assert_eq!((cluster.open_connections(1).unwrap(), cluster.open_connections(2).unwrap()), (1, 1));
    cluster.cut_connections(1).unwrap();
    assert!(first.is_closed().await);
    second.call(9, &MetadataRequest::default()).await;
    assert_eq!((cluster.open_connections(1).unwrap(), cluster.open_connections(2).unwrap()), (0, 1));
}

#[tokio::test]
async fn the_end_of_the_last_handle_is_the_end_of_the_cluster() {
    let cluster = fake().start().await.unwrap();
    let address = cluster.bootstrap_servers().remove(0);
    let mut client = RawClient::tcp(&address).await.of(&cluster);
    let clone = cluster.clone();
    drop(cluster);
    client.call(9, &MetadataRequest::default()).await;
    drop(clone);
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn after_shutdown_nothing_is_left_running() {
    let cluster = fake().brokers(3).start().await.unwrap();
    let mut client = RawClient::tcp(&cluster.bootstrap_servers()[0]).await.of(&cluster);
    client.call(9, &MetadataRequest::default()).await;
    cluster.shutdown().await;
    assert!(client.is_closed().await);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    assert_eq!(cluster.open_connections(1).unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut request = fetch_request(&topic(&cluster, "t"), 0, 0);
    request.max_wait_ms = 60_000;
    client.send(12, &request).await;
    cluster.requests_like(1, |request| request.api_key == ApiKey::FETCH).await;
    drop(client);
    while cluster.open_connections(1).unwrap() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_of_times_means_never() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 2).unwrap();
    cluster.move_leader("t", 0, 1).unwrap();
    cluster.miss_crashes_after(Duration::MAX);
    cluster.stop_broker(1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!(cluster.leader("t", 0).unwrap(), Some(1));
    cluster.start_broker(1).await.unwrap();
    assert_eq!(cluster.leader("t", 0).unwrap(), Some(2), "it is noticed then");
    let stall = cluster.inject_bytes(rskafka_fake::ByteFault::stall(Duration::MAX).at_broker(2));
    let mut client = RawClient::pipe(&cluster, 2).await;
    let request = MetadataRequest::default();
    let mut call = pin!(client.call(1, &request));
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut call).await.is_err());
    cluster.remove_fault(stall);
    call.await;
}

#[tokio::test]
async fn commands_that_cannot_be_are_errors() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let leader = cluster.leader("t", 0).unwrap().unwrap();
    let other = 3 - leader;
    assert!(matches!(cluster.move_leader("t", 0, 9), Err(ControlError::UnknownBroker { broker: 9 })));
    assert!(matches!(cluster.move_leader("t", 0, other), Err(ControlError::NotReplica { .. })));
    assert!(matches!(cluster.move_leader("t", 1, 1), Err(ControlError::UnknownPartition { .. })));
    assert!(matches!(cluster.delete_records("t", 0, 1), Err(ControlError::OffsetOutOfRange { .. })));
    assert!(matches!(cluster.delete_topic("no"), Err(ControlError::UnknownTopic { .. })));
    assert!(matches!(cluster.create_topic("t", 1, 1), Err(ControlError::TopicRefused { .. })));
    assert!(matches!(cluster.stop_broker(0).await, Err(ControlError::UnknownBroker { broker: 0 })));
    assert!(matches!(cluster.cut_connections(7), Err(ControlError::UnknownBroker { broker: 7 })));
    cluster.stop_broker(other).await.unwrap();
    assert!(matches!(cluster.move_leader("t", 0, other), Err(ControlError::BrokerStopped { .. })));
    let error = cluster.connect("broker-7", 9092).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
