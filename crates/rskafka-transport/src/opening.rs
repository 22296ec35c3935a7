//! Opens a connection: stream, version negotiation, login.
//!
//! Invariant: one deadline covers all of it, and dropping the future closes the stream.

use std::time::Duration;

use rskafka_protocol::{ApiKey, ErrorCode};
use tokio::time::timeout_at;
use tracing::debug;

use crate::address_memory::AddressMemory;
use crate::config::ConnectionConfig;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, CallErrorKind, CloseCause, Failure, Nature, OpenError, OpenProgress, Phase};
use crate::identity::{BrokerIdentity, IdentityCheck};
use crate::lifetime::Session;
use crate::link::Link;
use crate::negotiation::{Negotiation, Step};
use crate::pipeline::Timing;
use crate::security::TlsEvidence;
use crate::task::log_surplus;
use crate::ticket::Traits;
use crate::versions::BrokerVersions;

/// What a connection is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) env: &'a Env,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) config: &'a ConnectionConfig,
    pub(crate) memory: &'a AddressMemory,
    pub(crate) deadline: Deadline,
    pub(crate) progress: &'a OpenProgress,
}

/// A connection that is ready for requests.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(crate) versions: BrokerVersions,
    /// The SASL session, if it ends.
    pub(crate) session: Option<Session>,
    pub(crate) identity_check: IdentityCheck,
    pub(crate) request_timeout: Duration,
}

impl Opening<'_> {
    /// Opens the connection, which is meant for the broker `expected`.
    pub(crate) async fn run(&self, expected: Option<BrokerIdentity>) -> Result<Opened, OpenError> {
        let started = self.env.now();
        // Kafka ignores the identity before the login.
        let expected = expected.filter(|_| !self.config.security.has_sasl());
        let negotiation = Negotiation::new(self.memory.taken(), expected);
        let opened = timeout_at(self.deadline.instant(), self.steps(negotiation)).await;
        let phase = self.progress.phase().unwrap_or(Phase::Resolve);
        let opened = opened
            .ok()
            .filter(|opened| !matches!(opened, Err(failure) if failure.nature == Nature::TimedOut));
        let opened = opened.unwrap_or_else(|| Err(self.progress.timed_out(phase, self.env.now() - started)));
        self.progress.restart(None);
        opened.map_err(|failure| OpenError::new(self.endpoint, phase, failure))
    }

    async fn steps(&self, mut negotiation: Negotiation) -> Result<Opened, Failure> {
        let Self { env, endpoint, config, memory, deadline, progress } = *self;
        let (link, versions) = loop {
            progress.restart(Some(Phase::Resolve));
            let (stream, evidence) = config.security.dial(env, endpoint, progress).await?;
            let link = Link::start(env, endpoint, config, &memory.counters, stream);
            progress.enter(Phase::Negotiate);
            let negotiated = negotiate(&link, &evidence, &mut negotiation, deadline, progress).await;
            match negotiated.inspect_err(|_| memory.learn(None))? {
                Some(versions) => break (link, versions),
                None => {
                    debug!(broker = %endpoint, version = negotiation.version(), "asking in a lower version")
                }
            }
        };
        memory.learn(Some(negotiation.to_begin_with(&versions)));
        progress.enter(Phase::Sasl);
        let session = self.log_in(&link, &versions).await?;
        link.opened(session.map(|session| session.ends));
        debug!(broker = %endpoint, apis = versions.iter().count(), "connection opened");
        let (identity_check, request_timeout) = (negotiation.identity_check(), config.request_timeout);
        Ok(Opened { link, versions, session, identity_check, request_timeout })
    }

    /// Logs in, if SASL is configured. Returns the session, if it ends.
    #[cfg_attr(not(feature = "sasl"), expect(unused_variables, reason = "there is no login"))]
    async fn log_in(&self, link: &Link, versions: &BrokerVersions) -> Result<Option<Session>, Failure> {
        #[cfg(feature = "sasl")]
        if let Some(sasl) = &self.config.security.sasl {
            let authenticated =
                Box::pin(crate::sasl::authenticate(sasl, link, versions, self.deadline)).await;
            return authenticated.map_err(|failure| failure.within("authentication failed"));
        }
        Ok(None)
    }
}

/// The broker's versions; `None` if another connection is needed to ask for them.
async fn negotiate(
    link: &Link,
    evidence: &TlsEvidence,
    negotiation: &mut Negotiation,
    deadline: Deadline,
    progress: &OpenProgress,
) -> Result<Option<BrokerVersions>, Failure> {
    let refused = |code: ErrorCode| {
        // Other brokers can be asked (KIP-1242).
        let may_pass = code.is_retriable() || code == ErrorCode::REBOOTSTRAP_REQUIRED;
        let nature = if may_pass { Nature::Transient } else { Nature::Lasting };
        Failure::new(nature, format!("the broker refuses to tell its versions: {code}")).with_code(code)
    };
    let failed = |error: CallError| {
        let text = "the versions cannot be negotiated";
        match error.is_invalid_answer() {
            // Even if unsent: a server that is not Kafka may send a greeting first.
            true => Failure::new(Nature::InvalidAnswer, text).because(error),
            false => Failure::call(text, error, Nature::Lasting),
        }
    };
    loop {
        let (version, request) = (negotiation.version(), negotiation.request());
        let timing = Timing { attempt: Duration::MAX, limit: deadline };
        let whole = |frame| Ok((frame, Traits::default()));
        let frame = match link.call(&request, version, timing, whole).await {
            Ok(frame) => frame,
            Err(error) => match evidence.explain(&error) {
                Some((phase, explained)) => {
                    progress.enter(phase);
                    return Err(explained);
                }
                None if error.nature() == Nature::TimedOut => return Err(failed(error)),
                None if negotiation.identity_check() == IdentityCheck::Denied => {
                    return Err(refused(ErrorCode::REBOOTSTRAP_REQUIRED));
                }
                None if error.is_closed_by_broker() && negotiation.closed() => return Ok(None),
                None => return Err(failed(error)),
            },
        };
        match negotiation.answered(&frame) {
            Ok(Step::Done(versions, surplus)) => {
                if surplus > 0 {
                    log_surplus(&link.shared.endpoint, ApiKey::API_VERSIONS, surplus);
                }
                return Ok(Some(versions));
            }
            Ok(Step::Again) => {}
            Ok(Step::Refused(code)) => return Err(refused(code)),
            Err(source) => {
                link.end(CloseCause::Undecodable { api: ApiKey::API_VERSIONS, source: source.clone() });
                return Err(failed(link.error(ApiKey::API_VERSIONS, true, CallErrorKind::Decode { source })));
            }
        }
    }
}
