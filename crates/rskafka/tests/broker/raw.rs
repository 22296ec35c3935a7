//! Requests that the client has no call for.

use rskafka::protocol::{ApiKey, Request};
use rskafka_transport::{CallOptions, Connection, Endpoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::raw::deadline;
pub use crate::common::raw::{call, connect};

/// Sends a request in no higher version than this.
pub async fn call_up_to<R: Request>(connection: &Connection, max_version: i16, request: &R) -> R::Response {
    let options = CallOptions { max_version: Some(max_version), ..CallOptions::new(deadline()) };
    connection.call(request, options).await.unwrap().response
}

/// Sends the body of a request of version 0, of an API that the protocol crate does not know; gives the answer's body.
pub async fn call_unlisted(broker: &Endpoint, api: ApiKey, body: &[u8]) -> Vec<u8> {
    const NO_CLIENT_ID: i16 = -1;
    let mut stream = TcpStream::connect((broker.host.as_str(), broker.port)).await.unwrap();
    let header =
        [api.0.to_be_bytes().as_slice(), &[0, 0], &[0, 0, 0, 7], &NO_CLIENT_ID.to_be_bytes()].concat();
    stream.write_u32((header.len() + body.len()) as u32).await.unwrap();
    stream.write_all(&[&header, body].concat()).await.unwrap();
    let mut frame = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame.split_off(4)
}
