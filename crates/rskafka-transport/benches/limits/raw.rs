//! A client that does nothing but send the same bytes and take the answer.

use bytes::Bytes;
use rskafka_transport::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct RawClient {
    stream: TcpStream,
    request: Bytes,
}

impl RawClient {
    /// `request` is a whole frame.
    pub(crate) async fn connect(endpoint: &Endpoint, request: Bytes) -> Self {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.expect("a connection");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, request }
    }

    /// Sends the request, and takes the answer into memory that is used again.
    pub(crate) async fn exchange(&mut self, answer: &mut Vec<u8>) {
        self.stream.write_all(&self.request).await.expect("the peer reads");
        answer.clear();
        while missing(answer) > 0 {
            answer.reserve(missing(answer));
            self.stream.read_buf(answer).await.expect("the peer answers");
        }
    }
}

/// How many bytes of an answer are missing, as far as is known.
fn missing(answer: &[u8]) -> usize {
    match answer.first_chunk() {
        Some(length) => 4 + u32::from_be_bytes(*length) as usize - answer.len(),
        None => 4,
    }
}
