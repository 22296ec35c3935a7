//! SASL with a scripted peer.

use rskafka_protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use rskafka_protocol::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use rskafka_protocol::{ErrorCode, Message};
use rskafka_transport::{ConnectionConfig, Sasl, Security};

use crate::support::*;

fn with_sasl(sasl: Sasl) -> ConnectionConfig {
    ConnectionConfig { security: Security { sasl: Some(sasl), ..Default::default() }, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn plain_sends_user_and_password_once_the_broker_has_agreed() {
    let config = with_sasl(Sasl::plain("alice", "secret"));
    let (connection, ()) = open(&config, async |mut peer: Peer| {
        let request = peer.request().await;
        peer.answer(&request.header, &versions(&[(3, 0, 13), (17, 0, 1), (36, 0, 2)])).await;
        let request = peer.request().await;
        let body = SaslHandshakeRequest::decode(request.header.api_version, &request.body).unwrap();
        assert_eq!(body.mechanism, "PLAIN");
        let mechanisms = vec!["PLAIN".to_owned()];
        peer.answer(&request.header, &SaslHandshakeResponse { error_code: ErrorCode::NONE, mechanisms })
            .await;
        let request = peer.request().await;
        let body = SaslAuthenticateRequest::decode(request.header.api_version, &request.body).unwrap();
        assert_eq!(&*body.auth_bytes.0, b"\0alice\0secret");
        peer.answer(&request.header, &SaslAuthenticateResponse::default()).await;
    })
    .await;
    connection.unwrap();
}
