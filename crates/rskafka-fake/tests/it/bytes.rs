//! Faults of bytes, over pipes and over TCP.

use std::io::ErrorKind;
use std::time::Duration;

use rskafka_fake::{ByteFault, FakeCluster, Fault};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use rskafka_protocol::{ApiKey, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::support::*;

/// A version that every profile has.
const VERSION: i16 = 5;

fn metadata() -> Vec<u8> {
    encode_request(&MetadataRequest::default(), VERSION, 1, Some("raw")).unwrap().to_bytes().to_vec()
}

async fn over_both(brokers: usize) -> [FakeCluster; 2] {
    let builder = fake().brokers(brokers);
    [builder.clone().in_memory().start().await.unwrap(), builder.start().await.unwrap()]
}

async fn connect(cluster: &FakeCluster, broker: usize) -> Box<dyn Stream> {
    let address = cluster.bootstrap_servers().swap_remove(broker - 1);
    match address.strip_prefix("broker-") {
        Some(_) => Box::new(cluster.connect(&format!("broker-{broker}"), 9092).await.unwrap()),
        None => Box::new(tokio::net::TcpStream::connect(address).await.unwrap()),
    }
}

#[tokio::test]
async fn an_answer_is_cut_after_exactly_so_many_bytes() {
    for cluster in over_both(1).await {
        let fault = cluster.inject_bytes(ByteFault::cut().after_sent(20));
        let mut stream = connect(&cluster, 1).await;
        stream.write_all(&metadata()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 20);
        assert_eq!(cluster.struck(fault), 1);
        let mut client = RawClient::over(connect(&cluster, 1).await).of(&cluster);
        client.call(9, &MetadataRequest::default()).await;
        assert_eq!(cluster.partial_frames(), 0);
    }
}

#[tokio::test]
async fn a_request_is_cut_in_its_middle_and_not_served() {
    for cluster in over_both(1).await {
        cluster.create_topic("t", 1, 1).unwrap();
        let topic = topic(&cluster, "t");
        cluster.inject_bytes(ByteFault::cut().after_received(50));
        let request = produce_request(&topic, 0, -1, Some(batch(["a"])));
        let mut stream = connect(&cluster, 1).await;
        let frame = encode_request(&request, 7, 1, None).unwrap().to_bytes();
        stream.write_all(&frame).await.unwrap();
        let mut answer = Vec::new();
        // Over TCP this may be a reset, because the rest of the request was never read.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        assert_eq!(cluster.log("t", 0).unwrap().high_watermark, 0);
        assert_eq!(cluster.partial_frames(), 0, "it was not the client that ended");
    }
}

#[tokio::test]
async fn a_reset_is_seen_as_one_over_tcp() {
    let [pipes, tcp] = over_both(1).await;
    for (cluster, kind) in [(pipes, None), (tcp, Some(ErrorKind::ConnectionReset))] {
        cluster.inject_bytes(ByteFault::reset().after_received(metadata().len() as u64));
        let mut stream = connect(&cluster, 1).await;
        stream.write_all(&metadata()).await.unwrap();
        let result = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(result.err().map(|error| error.kind()), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_delays_what_comes_behind_it() {
    let cluster = cluster(2).await;
    let fault = ByteFault::stall(Duration::from_secs(9)).after_received(10).at_broker(1);
    cluster.inject_bytes(fault);
    let start = Instant::now();
    RawClient::pipe(&cluster, 2).await.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    RawClient::pipe(&cluster, 1).await.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::from_secs(9));
    RawClient::pipe(&cluster, 1).await.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::from_secs(9));
}

#[tokio::test]
async fn a_frozen_connection_takes_no_more_than_its_buffers_until_the_freeze_is_taken_back() {
    for cluster in over_both(1).await {
        let mut stream = connect(&cluster, 1).await;
        // In its middle, and in a connection that is open and waits already.
        stream.write_all(&metadata()[..10]).await.unwrap();
        while cluster.open_connections(1).unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        let fault = cluster.inject_bytes(ByteFault::freeze());
        let large = vec![0; 64 << 20];
        let written = timeout(Duration::from_millis(300), stream.write_all(&large)).await;
        assert!(written.is_err(), "the buffers are full");

        let mut other = connect(&cluster, 1).await;
        other.write_all(&metadata()).await.unwrap();
        let mut length = [0; 4];
        let answer = timeout(Duration::from_secs(60), other.read_exact(&mut length)).await;
        answer.expect("only one connection is struck").unwrap();
        assert_eq!(cluster.struck(fault), 1);
        cluster.remove_fault(fault);
        // What comes is no request.
        let mut sink = Vec::new();
        let end = async {
            let _ = stream.write_all(&large).await;
            stream.read_to_end(&mut sink).await
        };
        let _ = timeout(Duration::from_secs(60), end).await.expect("it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_both_ways() {
    let cluster = cluster(1).await;
    cluster.inject_bytes(ByteFault::slow(1).after_received(0).always());
    cluster.inject_bytes(ByteFault::slow(1).after_sent(0).always());
    let start = Instant::now();
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.send_bytes(&metadata()).await;
    let answer = client.frame().await.unwrap();
    let bytes = metadata().len() + 4 + answer.len();
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(bytes as u64) && elapsed < Duration::from_secs(bytes as u64 + 1),
        "{bytes} bytes in {elapsed:?}"
    );
    cluster.clear_faults();
    let start = Instant::now();
    client.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_byte_is_changed_on_its_way() {
    for cluster in over_both(1).await {
        let mut client = RawClient::over(connect(&cluster, 1).await).of(&cluster);
        client.send_bytes(&metadata()).await;
        let truth = client.frame().await.unwrap();
        // From the injection on: the 8th byte of the next answer, the 4th behind the length.
        cluster.inject_bytes(ByteFault::flip(0x40).after_sent(7));
        for changed in [true, false] {
            client.send_bytes(&metadata()).await;
            let frame = client.frame().await.unwrap();
            assert_eq!(frame[3] == truth[3] ^ 0x40, changed);
            assert!(decode_response::<MetadataResponse>(VERSION, &frame).is_ok());
        }
    }
}

#[tokio::test]
async fn clients_that_end_within_a_request_are_counted_and_others_are_not() {
    for cluster in over_both(1).await {
        for (bytes, expected) in [(0, 0), (metadata().len(), 0), (3, 1), (4, 2), (30, 3)] {
            let mut stream = connect(&cluster, 1).await;
            let mut sent = metadata();
            if bytes > 0 {
                sent.extend_from_slice(&metadata()[..bytes % metadata().len()]);
                stream.write_all(&sent).await.unwrap();
            }
            drop(stream);
            // The connection may not even have been accepted yet.
            let arrived = |request: &rskafka_fake::ReceivedRequest| request.api_key == ApiKey::METADATA;
            if bytes > 0 {
                cluster.requests_like(1, arrived).await;
            }
            timeout(Duration::from_secs(60), async {
                while cluster.open_connections(1).unwrap() > 0 || cluster.partial_frames() < expected {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await
            .unwrap_or_else(|_| panic!("{bytes}: {} and not {expected}", cluster.partial_frames()));
            assert_eq!(cluster.partial_frames(), expected, "{bytes}");
            cluster.clear_requests();
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_taking_answers_and_ends_within_a_request_is_counted() {
    let cluster = cluster(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(50)));
    let mut stream = cluster.connect("broker-1", 9092).await.unwrap();
    // More than the broker reads ahead.
    let requests = [metadata().repeat(20), metadata()[..9].to_vec()].concat();
    stream.write_all(&requests).await.unwrap();
    drop(stream);
    cluster.requests_like(1, |_| true).await;
    while cluster.open_connections(1).unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(cluster.partial_frames(), 1);
}

#[tokio::test]
async fn connections_are_passed_over_and_counted() {
    let cluster = cluster(1).await;
    let fault = cluster.inject_bytes(ByteFault::cut().after_received(5).skip(1).times(2));
    let mut ends = Vec::new();
    for _ in 0..5 {
        let mut stream = cluster.connect("broker-1", 9092).await.unwrap();
        // The broker may be faster than the write.
        let _ = stream.write_all(&metadata()).await;
        let mut length = [0; 4];
        ends.push(stream.read_exact(&mut length).await.is_err());
    }
    assert_eq!(ends, [false, true, true, false, false]);
    assert_eq!(cluster.struck(fault), 2);
}
