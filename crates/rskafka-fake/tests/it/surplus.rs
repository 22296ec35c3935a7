//! Bytes behind a request's last field.

use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{ApiKey, Encoder, ErrorCode, Message, RequestHeader};

use crate::support::*;

/// A request of each API and version, as a frame.
#[derive(Default)]
struct Requests(Vec<(ApiKey, i16, Bytes)>);

impl Visitor for Requests {
    fn visit<M: Message>(&mut self, direction: &'static str) {
        if direction != "request" {
            return;
        }
        for version in M::VERSIONS.iter() {
            let header = RequestHeader {
                api_key: M::API_KEY,
                api_version: version,
                correlation_id: 7,
                client_id: None,
            };
            let mut out = Encoder::for_frame();
            header.encode(M::is_flexible(version), &mut out).unwrap();
            M::default().encode(version, &mut out).unwrap();
            self.0.push((M::API_KEY, version, out.into_frame().unwrap().to_bytes()));
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answered {
    /// How many bytes: ids in it may differ.
    Length(usize),
    Nothing,
    Closed,
}

async fn answered(client: &mut RawClient, frame: &[u8]) -> Answered {
    client.send_bytes(frame).await;
    match tokio::time::timeout(Duration::from_secs(1), client.frame()).await {
        Ok(Some(answer)) => Answered::Length(answer.len()),
        Ok(None) => Answered::Closed,
        Err(_) => Answered::Nothing,
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_with_bytes_behind_it_is_answered_as_without_them() {
    let cluster = cluster(1).await;
    let advertised = cluster.advertised();
    let mut requests = Requests::default();
    visit_all(&mut requests);
    let mut asked = Vec::new();
    for (api_key, version, frame) in requests.0 {
        if !advertised.iter().any(|(known, versions)| *known == api_key && versions.contains(&version)) {
            continue;
        }
        let mut client = RawClient::pipe(&cluster, 1).await;
        let without = answered(&mut client, &frame).await;
        assert_ne!(without, Answered::Closed, "{api_key} version {version}");
        let with = answered(&mut client, &lengthened(&frame, b"abc")).await;
        assert_eq!(with, without, "{api_key} version {version}");
        asked.push(api_key);
    }
    asked.dedup();
    assert_eq!(asked.len(), advertised.len());
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_an_append_are_not_written() {
    let cluster = cluster(1).await;
    cluster.create_topic("wal", 1, 1).unwrap();
    let topic = topic(&cluster, "wal");
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.surplus = b"abc";
    for version in client.versions::<ProduceRequest>(3..=13) {
        let request = produce_request(&topic, 0, -1, Some(batch(["one"])));
        let answer = produced(client.call(version, &request).await);
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, i64::from(version) - 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_all_topics_as_librdkafka_makes_it_is_answered() {
    let cluster = cluster(1).await;
    cluster.create_topic("wal", 1, 1).unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.surplus = &[0; 3];
    let request = MetadataRequest { topics: None, ..Default::default() };
    let answer: MetadataResponse = client.call(4, &request).await;
    assert_eq!(answer.topics.len(), 1);
}
