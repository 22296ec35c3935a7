//! A relay between client and cluster that changes answers on their way, message by message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rskafka::client::env::{Env, EnvBuilder};
use rskafka::protocol::{
    ApiKey, ErrorCode, Message, Request, RequestHeader, decode_response, encode_response,
};
use rskafka_fake::FakeCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

/// A request that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The host asked.
    pub host: String,
    pub api: ApiKey,
    pub version: i16,
    /// The request, less its header.
    pub body: Bytes,
}

impl Asked {
    /// The request, if it is one of type `R`.
    pub fn request<R: Request>(&self) -> Option<R> {
        (self.api == R::API_KEY).then(|| R::decode(self.version, &self.body).unwrap())
    }
}

/// What stands between.
pub trait Meddle: FnMut(&Asked, Bytes) -> Bytes + Send + 'static {}

impl<F: FnMut(&Asked, Bytes) -> Bytes + Send + 'static> Meddle for F {}

/// An environment that dials into the cluster, with `meddle` given each answer frame, less its length.
pub fn env_meddling(cluster: &FakeCluster, meddle: impl Meddle) -> EnvBuilder {
    let cluster = cluster.clone();
    env_relaying(move |host| Some((cluster.clone(), host.to_owned())), meddle)
}

/// The same, with `route` telling which cluster's broker a host leads to at this moment; without one the
/// connection is refused.
pub fn env_relaying(
    route: impl Fn(&str) -> Option<(FakeCluster, String)> + Send + Sync + 'static,
    meddle: impl Meddle,
) -> EnvBuilder {
    let meddle = Arc::new(Mutex::new(meddle));
    let connector = move |host: String, port: u16| {
        let (route, meddle) = (route(&host), meddle.clone());
        async move {
            let (cluster, broker) = route.ok_or(std::io::ErrorKind::ConnectionRefused)?;
            let broker = cluster.connect(&broker, port).await?;
            let (ours, theirs) = duplex(1 << 20);
            tokio::spawn(relay(theirs, broker, host, meddle));
            Ok::<_, std::io::Error>(ours)
        }
    };
    Env::builder().connector(connector).random_seed(1)
}

/// Changes an answer of type `M`, if it is one: a version of ApiVersions that is too new is refused in version 0.
pub fn change<M: Message>(asked: &Asked, frame: &Bytes, change: impl FnOnce(&mut M)) -> Bytes {
    if asked.api == ApiKey::API_VERSIONS && is_too_new(frame) {
        return frame.clone();
    }
    let (header, mut answer) = decode_response::<M>(asked.version, frame).unwrap();
    change(&mut answer);
    encode_response(&answer, asked.version, header.correlation_id).unwrap().to_bytes().slice(4..)
}

/// Whether an answer to ApiVersions is that there is no such version.
pub fn is_too_new(frame: &Bytes) -> bool {
    frame[4..6] == ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes()
}

async fn relay(client: DuplexStream, broker: DuplexStream, host: String, meddle: Arc<Mutex<impl Meddle>>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_broker, mut to_broker) = split(broker);
    let asked = Mutex::new(VecDeque::new());
    let requests = async {
        while let Some(frame) = read_frame(&mut from_client).await {
            let (header, body) = RequestHeader::decode(&frame).unwrap();
            let (api, version) = (header.api_key, header.api_version);
            asked.lock().unwrap().push_back(Asked { host: host.clone(), api, version, body });
            write_frame(&mut to_broker, &frame).await;
        }
        let _ = to_broker.shutdown().await;
    };
    let answers = async {
        while let Some(frame) = read_frame(&mut from_broker).await {
            let asked = asked.lock().unwrap().pop_front().unwrap();
            let frame = (meddle.lock().unwrap())(&asked, frame);
            write_frame(&mut to_client, &frame).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(requests, answers);
}

pub async fn read_frame(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Bytes> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}

pub async fn write_frame(stream: &mut (impl AsyncWriteExt + Unpin), frame: &Bytes) {
    // The reader of a side notices that it is gone.
    let _ = stream.write_u32(frame.len() as u32).await;
    let _ = stream.write_all(frame).await;
    let _ = stream.flush().await;
}
