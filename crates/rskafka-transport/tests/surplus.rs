//! What is logged of answers with bytes behind their last field. In a process of its own: whether a line is
//! wanted is remembered for all threads.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka_protocol::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use rskafka_protocol::{ApiKey, RequestHeader, encode_response};
use rskafka_transport::{CallOptions, Connection, ConnectionConfig, Deadline, Endpoint, Env};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

/// Where a log goes that the test reads.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers everything with `surplus` bytes behind the body.
async fn serve(mut stream: DuplexStream, surplus: usize) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let (header, _) = RequestHeader::decode(&frame.into()).unwrap();
        let (version, id) = (header.api_version, header.correlation_id);
        let api_keys = [(3, 13), (18, 5), (60, 2)].map(|(api_key, max_version)| ApiVersion {
            api_key,
            min_version: 0,
            max_version,
        });
        let answer = match header.api_key {
            ApiKey::API_VERSIONS => {
                let versions = ApiVersionsResponse { api_keys: api_keys.to_vec(), ..Default::default() };
                encode_response(&versions, version, id)
            }
            ApiKey::METADATA => encode_response(&MetadataResponse::default(), version, id),
            _ => encode_response(&DescribeClusterResponse::default(), version, id),
        };
        let mut answer = answer.unwrap().to_bytes().to_vec();
        answer.resize(answer.len() + surplus, 0xee);
        let length = answer.len() as u32 - 4;
        answer[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&answer).await.unwrap();
    }
}

/// Opens a connection and makes three calls of one API and one of another; gives what is logged meanwhile.
async fn logged(surplus: usize) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let connector = move |_: String, _: u16| {
        let (ours, theirs) = duplex(1 << 16);
        tokio::spawn(serve(theirs, surplus));
        async move { Ok(ours) }
    };
    let (env, endpoint) = (Env::builder().connector(connector).build(), Endpoint::new("broker", 9092));
    let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
    let opened = Connection::open(&env, &endpoint, &ConnectionConfig::default(), deadline).await;
    let connection = opened.unwrap();
    let options = CallOptions::new(deadline);
    for _ in 0..3 {
        connection.call(&MetadataRequest::default(), options).await.unwrap();
    }
    connection.call(&DescribeClusterRequest::default(), options).await.unwrap();
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_an_answer_are_logged_once_for_each_connection_and_api() {
    let line = "bytes behind the last field of an answer are passed over";
    for _ in 0..2 {
        let log = logged(3).await;
        for api in ["ApiVersions", "Metadata", "DescribeCluster"] {
            let of_api = |text: &&str| {
                text.contains(line) && text.contains(&format!("broker=broker:9092 api={api} bytes=3"))
            };
            assert_eq!(log.lines().filter(of_api).count(), 1, "{api}: {log}");
        }
        assert_eq!(log.matches(line).count(), 3, "{log}");
    }
    assert!(!logged(0).await.contains(line));
}
