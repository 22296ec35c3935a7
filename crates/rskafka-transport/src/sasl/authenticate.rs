//! Carries a SASL exchange over a connection.

use std::time::Duration;

use rskafka_protocol::Request;
use rskafka_protocol::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::exchange::denied;
use super::{Action, Exchange, Expiry, Handshake, Method, OauthToken, Sasl};
use crate::connection::decoder;
use crate::deadline::Deadline;
use crate::env::Env;
use crate::error::{BoxError, Failure, Nature};
use crate::lifetime::Session;
use crate::link::Link;
use crate::pipeline::Timing;
use crate::versions::BrokerVersions;

/// Authenticates the client on a connection whose versions are known. Gives the session, if it ends.
pub(crate) async fn authenticate(
    sasl: &Sasl,
    link: &Link,
    versions: &BrokerVersions,
    deadline: Deadline,
) -> Result<Option<Session>, Failure> {
    let (handshake, token_session) = begin(sasl, &link.shared.env).await?;
    let agreed = ask(link, versions, &handshake.request(), deadline).await?;
    let mut action = handshake.agreed(agreed)?;
    // The broker starts to count the session's time after this.
    let mut sent_at = link.shared.env.now();
    loop {
        action = match action {
            Action::Authenticate(auth_bytes, exchange) => {
                sent_at = link.shared.env.now();
                let request = SaslAuthenticateRequest { auth_bytes };
                step(exchange, ask(link, versions, &request, deadline).await?).await?
            }
            Action::Done(lifetime) => {
                let session =
                    lifetime.map(|lifetime| Session::new(sent_at, lifetime, link.shared.env.random()));
                return Ok(session.into_iter().chain(token_session).min());
            }
        };
    }
}

/// Asks the caller's function for the credentials.
async fn begin(sasl: &Sasl, env: &Env) -> Result<(Handshake, Option<Session>), Failure> {
    let failed = |error: BoxError| {
        denied("there are no credentials: the function that gives them failed").because(error)
    };
    match &sasl.method {
        Method::Plain(credentials) => {
            Ok((Handshake::plain(&credentials.provide().await.map_err(failed)?)?, None))
        }
        Method::Scram(mechanism, credentials) => {
            let credentials = credentials.provide().await.map_err(failed)?;
            let no_nonce = Failure::lasting("there are no random numbers");
            let nonce = env.nonce().map_err(|error| no_nonce.because(error))?;
            Ok((Handshake::scram(*mechanism, &credentials, &nonce)?, None))
        }
        Method::OauthBearer(token) => {
            let token = token.provide().await.map_err(failed)?;
            Ok((Handshake::oauth_bearer(&token)?, session(&token, env)?))
        }
    }
}

/// The session that the token allows.
fn session(token: &OauthToken, env: &Env) -> Result<Option<Session>, Failure> {
    let lifetime = match token.expiry {
        None => return Ok(None),
        Some(Expiry::In(lifetime)) => lifetime,
        Some(Expiry::At(time)) => (time - env.wall_clock()).try_into().unwrap_or_default(),
    };
    if lifetime.is_zero() {
        return Err(denied("the token given has expired already: check the function that gives it"));
    }
    Ok(Some(Session::new(env.now(), lifetime, env.random())))
}

/// Takes an answer into the exchange; off the async threads if that hashes the password.
async fn step(exchange: Exchange, answer: SaslAuthenticateResponse) -> Result<Action, Failure> {
    if !exchange.is_about_to_hash() {
        return exchange.answered(answer);
    }
    spawn_blocking(move || exchange.answered(answer)).await.map_err(not_hashed)?
}

/// Says nothing about the credentials.
fn not_hashed(error: JoinError) -> Failure {
    match error.is_panic() {
        true => Failure::lasting("the password could not be hashed"),
        false => Failure::new(Nature::Transient, "the runtime of the connection has ended"),
    }
}

async fn ask<R: Request>(
    link: &Link,
    versions: &BrokerVersions,
    body: &R,
    deadline: Deadline,
) -> Result<R::Response, Failure> {
    let version = versions.version_of::<R>(0, None).map_err(|error| {
        denied("the broker is too old for SASL as this client speaks it (Kafka 1.0)").because(error)
    })?;
    let timing = Timing { attempt: Duration::MAX, limit: deadline };
    let reply = link.call(body, version, timing, decoder::<R>(version)).await;
    let failed = |error| Failure::call("the exchange broke off", error, Nature::Authentication);
    Ok(reply.map_err(failed)?.response)
}

impl Session {
    /// A request that begins before the end has this long to reach the broker, or a twentieth of a short session.
    const MARGIN: Duration = Duration::from_secs(5);

    /// A session that began at `start`. `random` spreads the replacement of connections that were opened
    /// together over 80 to 90 % of the lifetime.
    pub(crate) fn new(start: Instant, lifetime: Duration, random: u64) -> Self {
        let ends = lifetime - Self::MARGIN.min(lifetime / 20);
        let replace = lifetime.mul_f64(0.8 + (random % 1001) as f64 / 10_000.0);
        Self { ends: Deadline::after(start, ends), replace: Deadline::after(start, replace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_that_could_not_be_hashed_is_not_a_refused_one() {
        let panicked = spawn_blocking(|| panic!("while hashing")).await.unwrap_err();
        assert_eq!(not_hashed(panicked).nature, Nature::Lasting);
        let never = tokio::spawn(std::future::pending::<()>());
        never.abort();
        assert_eq!(not_hashed(never.await.unwrap_err()).nature, Nature::Transient);
    }
}
