//! The smallest way to a broker: a connection for each request, and no retry. The client under test has no part in it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rskafka::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponsePartition,
};
use rskafka::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka::protocol::records::{NewRecord, RecordBatchBuilder};
use rskafka::protocol::{ApiKey, ErrorCode, Request, decode_response, encode_request};
use rskafka::record::Record;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far above any answer here.
const MAX_FRAME: usize = 1 << 20;
const ELECT_LEADERS: ApiKey = ApiKey(43);
const ONE: [u8; 4] = [0, 0, 0, 1];
/// How long an answer may take, and what brokers are told of that.
const TIMEOUT: Duration = Duration::from_secs(1);
const WAIT_MS: [u8; 4] = 1_000_i32.to_be_bytes();

/// The topic's partitions in their order, as a broker knows them.
pub(crate) async fn partitions(broker: &str, topic: &str) -> Result<Vec<MetadataResponsePartition>> {
    let asked = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let answer = call(broker, 7, &request).await?;
    let mut partitions = answer.topics.into_iter().next().context("no topic")?.partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    Ok(partitions)
}

/// Appends a record with acks=all; gives its offset.
pub(super) async fn append(broker: &str, topic: &str, partition: usize, record: &Record) -> Result<i64> {
    let Record { key, value, headers, timestamp } = record;
    let timestamp = i64::try_from(timestamp.unix_timestamp_nanos() / 1_000_000)?;
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        headers.iter().map(|(key, value)| (key.as_ref(), value.map(Bytes::as_ref))).collect();
    let mut batch = RecordBatchBuilder::new();
    batch.push(NewRecord::new(timestamp, key.as_deref(), value.as_deref()).headers(headers))?;
    let mut request = ProduceRequest { acks: -1, timeout_ms: 1_000, ..Default::default() };
    let partition_data =
        vec![PartitionProduceData { index: partition as i32, records: Some(batch.build()?.into_bytes()) }];
    request.topic_data =
        vec![TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() }];
    let responses = call(broker, 7, &request).await?.responses;
    let responses = responses.into_iter().next().context("no topic")?.partition_responses;
    let response = responses.first().context("no partition")?;
    ensure!(response.error_code == ErrorCode::NONE, "{}", response.error_code);
    Ok(response.base_offset)
}

/// Has the first replica of each partition elected, by version 0 of ElectLeaders. The answer is not looked at: metadata tells what came
/// of it.
pub(super) async fn elect(broker: &str, topic: &str, partitions: usize) -> Result<()> {
    let indexes: Vec<u8> = (0..partitions as i32).flat_map(i32::to_be_bytes).collect();
    let name = [&(topic.len() as i16).to_be_bytes(), topic.as_bytes()].concat();
    let body = [&ONE[..], &name, &(partitions as i32).to_be_bytes(), &indexes, &WAIT_MS].concat();
    let length = (10 + body.len() as u32).to_be_bytes();
    // Version 0, and a client id of null.
    let request = [&length[..], &ELECT_LEADERS.0.to_be_bytes(), &[0, 0], &ONE, &[0xff, 0xff], &body].concat();
    exchange(broker, &request).await.map(drop)
}

async fn call<R: Request>(broker: &str, version: i16, request: &R) -> Result<R::Response> {
    let frame = encode_request(request, version, 1, Some("bare-probe"))?.to_bytes();
    Ok(decode_response(version, &exchange(broker, &frame).await?)?.1)
}

async fn exchange(broker: &str, frame: &[u8]) -> Result<Bytes> {
    let exchange = async {
        let mut stream = TcpStream::connect(broker).await?;
        stream.write_all(frame).await?;
        let length = stream.read_u32().await? as usize;
        ensure!(length <= MAX_FRAME, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        Ok(answer.into())
    };
    tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("{broker} does not answer"))?
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_election_has_kafkas_form() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = listener.local_addr().unwrap().to_string();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut frame = vec![0; stream.read_u32().await.unwrap() as usize];
            stream.read_exact(&mut frame).await.unwrap();
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 1]).await.unwrap();
            frame
        };
        let (sent, frame) = tokio::join!(elect(&broker, "wal", 2), serving);
        sent.unwrap();
        let expected =
            b"\0\x2b\0\0\0\0\0\x01\xff\xff\0\0\0\x01\0\x03wal\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\x03\xe8";
        assert_eq!(frame, expected);
    }
}
