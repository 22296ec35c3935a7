//! A guard in front of the cluster, which lets clients in by OAUTHBEARER for a time, as a broker with
//! `connections.max.reauth.ms` does, and notes what is sent when that time is over.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::env::{Env, EnvBuilder};
use rskafka::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka::protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use rskafka::protocol::messages::sasl_handshake::SaslHandshakeResponse;
use rskafka::protocol::{ApiKey, ErrorCode, Message, RequestHeader, decode_response, encode_response};
use rskafka_fake::FakeCluster;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::Instant;

use super::relay::{is_too_new, read_frame, write_frame};

/// The guard of all connections of a client.
#[derive(Clone, Default)]
pub struct Guard {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    /// How long a session lasts.
    pub lifetime: Duration,
    /// The tokens that are good.
    pub tokens: Vec<String>,
    /// Whether new connections are refused.
    pub is_shut: bool,
    /// How many connections were asked for.
    pub dialled: usize,
    /// How many clients were let in.
    pub let_in: usize,
    /// Connections that are open.
    pub open: usize,
    /// What came when the session was over.
    pub late: Vec<ApiKey>,
}

impl Guard {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An environment that dials into the cluster by way of the guard.
    pub fn env(&self, cluster: &FakeCluster) -> EnvBuilder {
        let (guard, cluster) = (self.clone(), cluster.clone());
        let connector = move |host: String, port: u16| {
            let (guard, cluster) = (guard.clone(), cluster.clone());
            async move {
                guard.state().dialled += 1;
                if guard.state().is_shut {
                    return Err(std::io::ErrorKind::ConnectionRefused.into());
                }
                let broker = cluster.connect(&host, port).await?;
                let (ours, theirs) = duplex(1 << 20);
                tokio::spawn(async move {
                    guard.state().open += 1;
                    guard.serve(theirs, broker).await;
                    guard.state().open -= 1;
                });
                Ok::<_, std::io::Error>(ours)
            }
        };
        Env::builder().connector(connector).random_seed(1)
    }

    /// How long the session of a client with this message lasts, if it is let in.
    fn let_in(&self, message: &str) -> Option<Duration> {
        let mut state = self.state();
        let is_known = state.tokens.iter().any(|token| message.contains(&format!("Bearer {token}\x01")));
        state.let_in += usize::from(is_known);
        is_known.then_some(state.lifetime)
    }

    /// Returns when either side has closed, and closes both.
    async fn serve(&self, client: DuplexStream, broker: DuplexStream) -> Option<()> {
        let (mut from_client, mut to_client) = split(client);
        let (mut from_broker, mut to_broker) = split(broker);

        loop {
            let frame = read_frame(&mut from_client).await?;
            let header = RequestHeader::decode(&frame).unwrap().0;
            assert_eq!(header.api_key, ApiKey::API_VERSIONS);
            write_frame(&mut to_broker, &frame).await;
            let answer = read_frame(&mut from_broker).await?;
            if !is_too_new(&answer) {
                write_frame(&mut to_client, &with_sasl(header.api_version, &answer)).await;
                break;
            }
            write_frame(&mut to_client, &answer).await;
        }

        let header = RequestHeader::decode(&read_frame(&mut from_client).await?).unwrap().0;
        assert_eq!(header.api_key, ApiKey::SASL_HANDSHAKE);
        write_frame(&mut to_client, &answer_to(&header, &SaslHandshakeResponse::default())).await;

        let frame = read_frame(&mut from_client).await?;
        let (header, body) = RequestHeader::decode(&frame).unwrap();
        let message = SaslAuthenticateRequest::decode(header.api_version, &body).unwrap().auth_bytes;
        let message = String::from_utf8(message.to_vec()).unwrap();
        let Some(lifetime) = self.let_in(&message) else {
            let response = SaslAuthenticateResponse {
                error_code: ErrorCode::SASL_AUTHENTICATION_FAILED,
                error_message: Some("no such token".to_owned()),
                ..Default::default()
            };
            write_frame(&mut to_client, &answer_to(&header, &response)).await;
            return None;
        };
        let ends = Instant::now() + lifetime;
        let session_lifetime_ms = lifetime.as_millis() as i64;
        let response = SaslAuthenticateResponse { session_lifetime_ms, ..Default::default() };
        write_frame(&mut to_client, &answer_to(&header, &response)).await;

        let requests = async {
            while let Some(frame) = read_frame(&mut from_client).await {
                if Instant::now() >= ends {
                    self.state().late.push(RequestHeader::decode(&frame).unwrap().0.api_key);
                    break;
                }
                write_frame(&mut to_broker, &frame).await;
            }
            let _ = to_broker.shutdown().await;
        };
        let answers = async {
            while let Some(frame) = read_frame(&mut from_broker).await {
                write_frame(&mut to_client, &frame).await;
            }
            let _ = to_client.shutdown().await;
        };
        tokio::join!(requests, answers);
        Some(())
    }
}

fn with_sasl(version: i16, frame: &Bytes) -> Bytes {
    let (header, mut versions) = decode_response::<ApiVersionsResponse>(version, frame).unwrap();
    for (api, max_version) in [(ApiKey::SASL_HANDSHAKE, 1), (ApiKey::SASL_AUTHENTICATE, 2)] {
        versions.api_keys.retain(|known| known.api_key != api.0);
        versions.api_keys.push(ApiVersion { api_key: api.0, min_version: 0, max_version });
    }
    encode_response(&versions, version, header.correlation_id).unwrap().to_bytes().slice(4..)
}

fn answer_to<M: Message>(header: &RequestHeader, response: &M) -> Bytes {
    encode_response(response, header.api_version, header.correlation_id).unwrap().to_bytes().slice(4..)
}
