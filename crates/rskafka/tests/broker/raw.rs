//! Requests that the client has no call for.

use std::time::Duration;

use rskafka::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};
use rskafka::protocol::{ApiKey, Request};
use rskafka_transport::{CallOptions, Connection, Endpoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::raw::deadline;
pub use crate::common::raw::{call, connect};
use crate::common::{Brokers, PATIENCE};

/// Sends a request in no higher version than this.
pub async fn call_up_to<R: Request>(connection: &Connection, max_version: i16, request: &R) -> R::Response {
    let options = CallOptions { max_version: Some(max_version), ..CallOptions::new(deadline()) };
    connection.call(request, options).await.unwrap().response
}

/// Sends the body of a request that the protocol crate does not know, or not in this version, in which no header has tags;
/// gives the answer's body.
pub async fn call_unlisted(broker: &Endpoint, api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    const NO_CLIENT_ID: i16 = -1;
    let mut stream = TcpStream::connect((broker.host.as_str(), broker.port)).await.unwrap();
    let header = [api.0, version, 0, 7, NO_CLIENT_ID].map(i16::to_be_bytes).concat();
    stream.write_u32((header.len() + body.len()) as u32).await.unwrap();
    stream.write_all(&[&header, body].concat()).await.unwrap();
    let mut frame = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame.split_off(4)
}

/// Where a topic's only partition is led, with what is said of the topic.
pub async fn leader_of(brokers: &Brokers, topic: &str) -> (Endpoint, MetadataResponseTopic) {
    let bootstrap = connect(brokers[0].parse().unwrap()).await;
    let asked = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    // The first broker may not know the topic yet.
    let asking = async {
        loop {
            let metadata = call(&bootstrap, &request).await;
            let topic = metadata.topics.into_iter().next().unwrap();
            let leader = topic.partitions.first().map_or(-1, |partition| partition.leader_id);
            if let Some(broker) = metadata.brokers.into_iter().find(|broker| broker.node_id == leader) {
                return (Endpoint::new(broker.host, u16::try_from(broker.port).unwrap()), topic);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the topic has no leader")
}

/// A string as it is in a request.
pub fn string(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}
