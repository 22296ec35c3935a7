//! A client that does nothing but send the same bytes and take the answer.

use bytes::Bytes;
use rskafka_transport::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct RawClient {
    stream: TcpStream,
    request: Bytes,
    answer: Vec<u8>,
}

impl RawClient {
    /// `request` is a whole frame.
    pub(crate) async fn connect(endpoint: &Endpoint, request: Bytes) -> Self {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.expect("a connection");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, request, answer: Vec::new() }
    }

    pub(crate) async fn exchange(&mut self) {
        self.stream.write_all(&self.request).await.expect("the peer reads");
        self.answer.clear();
        while self.missing() > 0 {
            let missing = self.missing();
            self.answer.reserve(missing);
            self.stream.read_buf(&mut self.answer).await.expect("the peer answers");
        }
    }

    /// How many bytes of the answer are missing, as far as is known.
    fn missing(&self) -> usize {
        match self.answer.first_chunk() {
            Some(length) => 4 + u32::from_be_bytes(*length) as usize - self.answer.len(),
            None => 4,
        }
    }
}
