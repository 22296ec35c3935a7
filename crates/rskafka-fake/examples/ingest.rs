//! How fast the fake takes in batches of 1 MiB over loopback, beside a loop that only reads and checks
//! their CRC: `cargo run --release -p rskafka-fake --example ingest [ROUNDS]`.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rskafka_fake::FakeCluster;
use rskafka_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka_protocol::records::{NewRecord, RecordBatchBuilder, batches};
use rskafka_protocol::{Message, RequestHeader, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BATCH_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = 10 * 1024;
const BATCHES: usize = 300;
const IN_FLIGHT: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(21), |rounds| rounds.parse())?;
    let cluster = FakeCluster::builder().retain_bytes_per_partition(16 * BATCH_BYTES).start().await?;
    cluster.create_topic_with("t", 1, 1, [("max.message.bytes", "2000000")])?;
    let address = cluster.bootstrap_servers().remove(0);
    let raw = raw_loop().await?;
    let frame = encode_request(&request()?, 9, 1, None)?.to_bytes();

    let mut ratios = Vec::new();
    for round in 0..rounds {
        let (fake, raw) = (send(&address, &frame).await?, send(&raw, &frame).await?);
        let rate = |time: Duration| (BATCHES * BATCH_BYTES) as f64 / time.as_secs_f64() / 1e6;
        println!("round {round}: fake {:.0} MB/s, raw loop {:.0} MB/s", rate(fake), rate(raw));
        ratios.push(raw.as_secs_f64() / fake.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: {:.2} of the raw loop", ratios[ratios.len() / 2]);
    Ok(())
}

fn request() -> Result<ProduceRequest, Box<dyn std::error::Error>> {
    let mut builder = RecordBatchBuilder::with_capacity(BATCH_BYTES);
    let value = vec![7; RECORD_BYTES];
    while builder.encoded_size() + RECORD_BYTES < BATCH_BYTES {
        builder.push(NewRecord::new(0, None, Some(&value)))?;
    }
    let records = Some(builder.build()?.into_bytes());
    let topic = TopicProduceData {
        name: "t".to_owned(),
        partition_data: vec![PartitionProduceData { index: 0, records }],
        ..Default::default()
    };
    Ok(ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() })
}

/// Sends the frame again and again, a few ahead of the answers.
async fn send(address: &str, frame: &Bytes) -> io::Result<Duration> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let start = Instant::now();
    let mut answers = vec![0; 4096];
    for sent in 0..BATCHES + IN_FLIGHT {
        if sent >= IN_FLIGHT {
            let length = read.read_i32().await? as usize;
            read.read_exact(&mut answers[..length]).await?;
        }
        if sent < BATCHES {
            write.write_all(frame).await?;
        }
    }
    Ok(start.elapsed())
}

/// A server that reads frames into one buffer, checks the CRC of their batch and answers four bytes.
async fn raw_loop() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let length = stream.read_i32().await? as usize;
        buffer.resize(length, 0);
        stream.read_exact(&mut buffer).await?;
        let frame = std::mem::take(&mut buffer).freeze();
        let (header, body) = RequestHeader::decode(&frame).map_err(io::Error::other)?;
        let mut request = ProduceRequest::decode(header.api_version, &body).map_err(io::Error::other)?;
        let records = request.topic_data.pop().and_then(|mut topic| topic.partition_data.pop()?.records);
        let intact = batches(&records.unwrap_or_default()).all(|batch| batch.is_ok());
        assert!(intact, "the batch is intact");
        drop((body, request));
        buffer = frame.try_into_mut().unwrap_or_default();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 1]).await?;
    }
}
