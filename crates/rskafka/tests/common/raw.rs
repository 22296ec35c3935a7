//! Requests that the client has no call for.

use rskafka::protocol::Request;
use rskafka_transport::{CallOptions, Connection, ConnectionConfig, Deadline, Endpoint, Env};

use super::PATIENCE;

pub async fn connect(endpoint: Endpoint) -> Connection {
    let config = ConnectionConfig::default();
    Connection::open(&Env::system(), &endpoint, &config, deadline()).await.unwrap()
}

pub async fn call<R: Request>(connection: &Connection, request: &R) -> R::Response {
    connection.call(request, CallOptions::new(deadline())).await.unwrap().response
}

pub fn deadline() -> Deadline {
    Deadline::after(tokio::time::Instant::now(), PATIENCE)
}
