//! The broker's side of SASL, as Kafka was measured to behave.

use std::time::Duration;

use rskafka_protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use rskafka_protocol::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use rskafka_protocol::scram::{Mechanism, ServerStart, StoredCredential};
use rskafka_protocol::{ErrorCode, Message, RequestHeader};
use rskafka_transport::{ConnectionConfig, Sasl, Security};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::*;

pub(crate) fn with_sasl(sasl: Sasl) -> ConnectionConfig {
    ConnectionConfig { security: Security { sasl: Some(sasl), ..Default::default() }, ..Default::default() }
}

/// What the broker knows and grants.
#[derive(Clone)]
pub(crate) struct SaslServer {
    pub(crate) user: &'static str,
    /// The password, or the token.
    pub(crate) secret: String,
    pub(crate) mechanisms: &'static [&'static str],
    pub(crate) lifetime_ms: i64,
    /// How long it takes to answer.
    pub(crate) delay: Duration,
    /// The highest version of SaslAuthenticate.
    pub(crate) max_version: i16,
    /// Whether it does not know the password and says that it is right.
    pub(crate) is_impostor: bool,
    /// Whether its refusals repeat what the client has sent.
    pub(crate) repeats_secrets: bool,
}

impl Default for SaslServer {
    fn default() -> Self {
        Self {
            user: "alice",
            secret: "s3cret-w0rd".to_owned(),
            mechanisms: &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"],
            lifetime_ms: 0,
            delay: Duration::ZERO,
            max_version: 2,
            is_impostor: false,
            repeats_secrets: false,
        }
    }
}

impl SaslServer {
    /// Serves versions and authentication. Gives whether the client is who it says; it is to be closed if not.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, peer: &mut Peer<S>) -> bool {
        let Some(request) = peer.try_request().await else { return false };
        let known = versions(&[(3, 0, 13), (17, 0, 1), (18, 0, 5), (36, 0, self.max_version)]);
        peer.answer(&request.header, &known).await;
        let Some(request) = peer.try_request().await else { return false };
        let SaslHandshakeRequest { mechanism } =
            SaslHandshakeRequest::decode(request.header.api_version, &request.body).unwrap();
        let offers_it = self.mechanisms.contains(&mechanism.as_str());
        let error_code = if offers_it { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_SASL_MECHANISM };
        let mechanisms = self.mechanisms.iter().map(|name| (*name).to_owned()).collect();
        peer.answer(&request.header, &SaslHandshakeResponse { error_code, mechanisms }).await;
        match mechanism.as_str() {
            _ if !offers_it => false,
            "PLAIN" => self.plain(peer).await,
            "OAUTHBEARER" => self.oauth_bearer(peer).await,
            name => self.scram(peer, Mechanism::from_name(name).unwrap()).await.is_some(),
        }
    }

    async fn plain<S: AsyncRead + AsyncWrite + Unpin>(&self, peer: &mut Peer<S>) -> bool {
        let Some((header, message)) = self.message(peer).await else { return false };
        let is_known = message == format!("\0{}\0{}", self.user, self.secret).as_bytes();
        if is_known {
            self.accept(peer, &header, b"").await;
        } else {
            let reason = "Authentication failed: Invalid username or password";
            self.refuse(peer, &header, &self.with_sent(reason, &message)).await;
        }
        is_known
    }

    async fn oauth_bearer<S: AsyncRead + AsyncWrite + Unpin>(&self, peer: &mut Peer<S>) -> bool {
        let Some((header, message)) = self.message(peer).await else { return false };
        if message == format!("n,,\x01auth=Bearer {}\x01\x01", self.secret).as_bytes() {
            self.accept(peer, &header, b"").await;
            return true;
        }
        let reason = self.with_sent(r#"{"status":"invalid_token"}"#, &message);
        self.accept(peer, &header, reason.as_bytes()).await;
        let Some((header, message)) = self.message(peer).await else { return false };
        assert_eq!(message, b"\x01");
        self.refuse(peer, &header, &reason).await;
        false
    }

    fn with_sent(&self, reason: &str, message: &[u8]) -> String {
        match self.repeats_secrets {
            true => format!("{reason}: {}", String::from_utf8_lossy(message)),
            false => reason.to_owned(),
        }
    }

    async fn scram<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        peer: &mut Peer<S>,
        mechanism: Mechanism,
    ) -> Option<()> {
        let invalid =
            "Authentication failed during authentication due to invalid credentials with SASL mechanism";
        let (header, message) = self.message(peer).await?;
        let server = ServerStart::new(&message).unwrap();
        if server.username() != self.user {
            self.refuse(peer, &header, invalid).await;
            return None;
        }
        let stored = StoredCredential::new(mechanism, &self.secret, b"salt", 4096).unwrap();
        let server = server.answer(&stored, "brokers-nonce");
        self.accept(peer, &header, server.message()).await;
        let (header, message) = self.message(peer).await?;
        if self.is_impostor {
            self.accept(peer, &header, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").await;
            return Some(());
        }
        let Ok(server) = server.client_final(&message) else {
            self.refuse(peer, &header, invalid).await;
            return None;
        };
        self.accept(peer, &header, server.message()).await;
        Some(())
    }

    async fn message<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        peer: &mut Peer<S>,
    ) -> Option<(RequestHeader, Vec<u8>)> {
        let Received { header, body } = peer.try_request().await?;
        assert!(header.api_version <= self.max_version);
        let request = SaslAuthenticateRequest::decode(header.api_version, &body).unwrap();
        Some((header, request.auth_bytes.to_vec()))
    }

    async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        peer: &mut Peer<S>,
        header: &RequestHeader,
        bytes: &[u8],
    ) {
        tokio::time::sleep(self.delay).await;
        let response = SaslAuthenticateResponse {
            auth_bytes: bytes.to_vec().into(),
            session_lifetime_ms: self.lifetime_ms,
            ..Default::default()
        };
        peer.answer(header, &response).await;
    }

    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        peer: &mut Peer<S>,
        header: &RequestHeader,
        message: &str,
    ) {
        let response = SaslAuthenticateResponse {
            error_code: ErrorCode::SASL_AUTHENTICATION_FAILED,
            error_message: Some(message.to_owned()),
            ..Default::default()
        };
        peer.answer(header, &response).await;
    }
}
