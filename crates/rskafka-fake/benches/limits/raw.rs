//! A server that reads frames into one buffer, checks the CRC of their batch and answers four bytes.

use std::io;

use bytes::BytesMut;
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::records::batches;
use rskafka_protocol::{Message, RequestHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts it on the runtime; gives its address.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    // Else an answer may wait for the acknowledgement of the one before it, 40 ms.
    stream.set_nodelay(true)?;
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
