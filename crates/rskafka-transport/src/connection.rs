//! What the layers above use: a connection whose versions are negotiated.
//!
//! Invariant: an answer that cannot be decoded ends the connection, because nothing after it can be
//! trusted.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use rskafka_protocol::{ApiKey, ErrorCode, Message, Request, decode_response_with_surplus, encode_request};
use tokio::time::timeout_at;
use tracing::debug;

use crate::address_memory::AddressMemory;
use crate::config::{CallOptions, ConnectionConfig};
use crate::deadline::Deadline;
use crate::dial::Progress;
use crate::endpoint::Endpoint;
use crate::env::Env;
#[cfg(feature = "sasl")]
use crate::error::SaslError;
use crate::error::{CallError, CallErrorKind, CloseCause, OpenError, OpenErrorKind, Phase};
use crate::identity::{BrokerIdentity, IdentityCheck};
use crate::link::{Link, Traits};
use crate::negotiation::{Negotiation, Step};
use crate::pipeline::Patience;
use crate::security::TlsEvidence;
use crate::session::Session;
use crate::task::log_surplus;
use crate::versions::BrokerVersions;

/// A connection to one broker. Clones are the same connection; it ends when the last one is dropped.
///
/// Requests are pipelined: they go out in the order of the calls without waiting for answers.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

/// A connection that is not kept open by this.
#[derive(Debug, Clone)]
pub struct WeakConnection {
    inner: Weak<Inner>,
}

impl WeakConnection {
    /// The connection, if anybody else still has it.
    pub fn upgrade(&self) -> Option<Connection> {
        self.inner.upgrade().map(|inner| Connection { inner })
    }
}

#[derive(Debug)]
struct Inner {
    link: Link,
    versions: BrokerVersions,
    session: Option<Session>,
    identity_check: IdentityCheck,
    request_timeout: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    /// The answer's body. Payloads in it share the memory of the frame they came in.
    pub response: T,
    /// The version in which it was asked and answered.
    pub version: i16,
    /// The size of the answer on the wire, without its length prefix.
    pub bytes: usize,
}

impl Connection {
    /// Connects by way of [`ConnectionConfig::security`], asks the broker for its versions, and authenticates.
    ///
    /// Ends by `deadline` or [`ConnectionConfig::connect_timeout`], whichever is earlier. The task of the
    /// connection lives on the runtime on which this is polled. Dropping the future closes what it had
    /// opened.
    pub async fn open(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        deadline: Deadline,
    ) -> Result<Self, OpenError> {
        Self::open_after(env, endpoint, config, &AddressMemory::new(endpoint), None, deadline).await
    }

    /// The same, after other connections to the same address, and meant for the broker `expected`. Whether
    /// the broker takes itself for that one is told by [`Self::identity_check`].
    pub async fn open_after(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        memory: &AddressMemory,
        expected: Option<BrokerIdentity>,
        deadline: Deadline,
    ) -> Result<Self, OpenError> {
        let started = env.now();
        let deadline = deadline.min(Deadline::after(started, config.connect_timeout));
        let opened = Self::try_open(env, endpoint, config, memory, expected, deadline).await;
        memory.counters().opened(opened.is_ok());
        let kind = match opened {
            Ok(connection) => return Ok(connection),
            Err(kind) => kind,
        };
        // A phase knows that its time is over, but not how long the others took.
        let error = OpenError::new(endpoint.clone(), kind.with_elapsed(env.now() - started));
        debug!(broker = %endpoint, error = &error as &(dyn std::error::Error + 'static), "connection not opened");
        Err(error)
    }

    async fn try_open(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        memory: &AddressMemory,
        expected: Option<BrokerIdentity>,
        deadline: Deadline,
    ) -> Result<Self, OpenErrorKind> {
        let mut progress = Progress::new();
        // Before a login Kafka does not look at the identity.
        let expected = expected.filter(|_| !config.security.has_sasl());
        let negotiation = Negotiation::new(memory.taken(), expected);
        let opening = Self::steps(env, endpoint, config, memory, negotiation, deadline, &mut progress);
        match timeout_at(deadline.instant(), opening).await {
            Ok(opened) => opened,
            Err(_) => Err(OpenErrorKind::timed_out(progress.phase, progress.into_failures())),
        }
    }

    async fn steps(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        memory: &AddressMemory,
        mut negotiation: Negotiation,
        deadline: Deadline,
        progress: &mut Progress,
    ) -> Result<Self, OpenErrorKind> {
        let (link, versions) = loop {
            *progress = Progress::new();
            let (stream, evidence) = config.security.dial(env, endpoint, progress).await?;
            let link = Link::start(env, endpoint, config, memory.counters(), stream);
            progress.phase = Phase::Negotiate;
            let negotiated = negotiate(&link, &evidence, &mut negotiation, deadline).await;
            match negotiated.inspect_err(|_| memory.forget())? {
                Some(versions) => break (link, versions),
                None => {
                    debug!(broker = %endpoint, version = negotiation.version(), "asking in a lower version")
                }
            }
        };
        memory.learn(negotiation.to_begin_with(&versions));
        progress.phase = Phase::Sasl;
        let session = authenticate(&link, &versions, config, deadline).await?;
        link.opened(session.map(|session| session.ends));
        debug!(broker = %endpoint, apis = versions.iter().count(), "connection opened");
        let request_timeout = config.request_timeout;
        let identity_check = negotiation.identity_check();
        Ok(Self { inner: Arc::new(Inner { link, versions, session, identity_check, request_timeout }) })
    }

    /// The broker's address, as it was asked for.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.link.endpoint()
    }

    /// Whether the broker took itself for the one that the connection was meant for.
    pub fn identity_check(&self) -> IdentityCheck {
        self.inner.identity_check
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &BrokerVersions {
        &self.inner.versions
    }

    /// One request, one answer.
    ///
    /// Ends by the earlier of `options.deadline` and the connection's request timeout plus `options.wait`;
    /// both also cover waiting for a place in the queue. If a request that was sent is not answered by
    /// then, the connection ends, because all later answers would wait behind the missing one.
    ///
    /// After an answer with a throttle time no request begins until that is over (KIP-219). The request
    /// timeout counts from then; a call whose deadline is earlier fails at once, unsent.
    ///
    /// Dropping the future leaves the connection usable: a request that has begun to be written is written
    /// to its end, and its answer is discarded.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        options: CallOptions,
    ) -> Result<Reply<R::Response>, CallError> {
        let Inner { link, versions, request_timeout, .. } = &*self.inner;
        let patience =
            Patience { attempt: request_timeout.saturating_add(options.wait), limit: options.deadline };
        let version = versions
            .version_of::<R>(options.max_version)
            .map_err(|source| link.error(R::API_KEY, false, CallErrorKind::UnsupportedVersion { source }))?;
        exchange(link, request, version, patience).await
    }

    /// Whether another connection should take this one's place, because its SASL session ends soon: it has
    /// used 80 to 90 % of its lifetime. Calls still work until [`CloseCause::SessionExpired`].
    pub fn needs_replacement(&self) -> bool {
        let now = self.inner.link.env().now();
        self.inner.session.is_some_and(|session| session.replace.is_over(now))
    }

    /// Whether the connection has ended or is about to: every further call fails.
    pub fn is_closed(&self) -> bool {
        self.close_cause().is_some()
    }

    /// Why the connection ended.
    pub fn close_cause(&self) -> Option<Arc<CloseCause>> {
        self.inner.link.close_cause().cloned()
    }

    /// Waits until the socket is closed, for whatever reason. The future is no handle: it does not keep the
    /// connection open.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.link.ended()
    }

    /// A handle that does not keep the connection open.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { inner: Arc::downgrade(&self.inner) }
    }

    /// Ends the connection for all handles, without waiting for it. Calls under way fail.
    ///
    /// A request that is partly written is given one second to be written to its end.
    pub fn end(&self) {
        self.inner.link.end(CloseCause::ByClient);
    }

    /// [`end`](Self::end), and waits until the socket is closed. Dropping the future does not stop the end.
    pub async fn close(&self) {
        self.end();
        self.ended().await;
    }
}

/// One request in a version that was agreed on, one answer.
pub(crate) async fn exchange<R: Request>(
    link: &Link,
    request: &R,
    version: i16,
    patience: Patience,
) -> Result<Reply<R::Response>, CallError> {
    let mut encode = |id| encode_request(request, version, id, Some(link.client_id()));
    let decode = move |frame: Bytes| {
        let (_, response, surplus) = decode_response_with_surplus::<R::Response>(version, &frame)?;
        let traits = Traits { throttle: Duration::from_millis(response.silence_ms(version).into()), surplus };
        Ok((Reply { response, version, bytes: frame.len() }, traits))
    };
    link.call(R::API_KEY, patience, &mut encode, decode).await
}

#[cfg(feature = "sasl")]
async fn authenticate(
    link: &Link,
    versions: &BrokerVersions,
    config: &ConnectionConfig,
    deadline: Deadline,
) -> Result<Option<Session>, OpenErrorKind> {
    let Some(sasl) = &config.security.sasl else {
        return Ok(None);
    };
    let authenticated = Box::pin(crate::sasl::authenticate(sasl, link, versions, deadline)).await;
    authenticated.map_err(|source| match &source {
        SaslError::Call { source } if source.is_timeout() => {
            OpenErrorKind::timed_out(Phase::Sasl, Vec::new())
        }
        _ => OpenErrorKind::Sasl { source },
    })
}

#[cfg(not(feature = "sasl"))]
async fn authenticate(
    _: &Link,
    _: &BrokerVersions,
    _: &ConnectionConfig,
    _: Deadline,
) -> Result<Option<Session>, OpenErrorKind> {
    Ok(None)
}

/// The broker's versions; `None` if another connection is needed to ask for them.
async fn negotiate(
    link: &Link,
    evidence: &TlsEvidence,
    negotiation: &mut Negotiation,
    deadline: Deadline,
) -> Result<Option<BrokerVersions>, OpenErrorKind> {
    loop {
        let (version, request) = (negotiation.version(), negotiation.request());
        let mut encode = |id| encode_request(&request, version, id, Some(link.client_id()));
        let frame = match link.exchange(ApiKey::API_VERSIONS, deadline, &mut encode).await {
            Ok(frame) => frame,
            Err(source) if source.is_timeout() => {
                return Err(OpenErrorKind::timed_out(Phase::Negotiate, Vec::new()));
            }
            Err(source) => match evidence.explain(&source) {
                Some(explained) => return Err(explained),
                None if negotiation.identity_check() == IdentityCheck::Denied => {
                    return Err(OpenErrorKind::Refused { code: ErrorCode::REBOOTSTRAP_REQUIRED });
                }
                None if source.is_closed_by_broker() && negotiation.closed() => return Ok(None),
                None => return Err(OpenErrorKind::Negotiate { source }),
            },
        };
        match negotiation.answered(&frame) {
            Ok(Step::Done(versions, surplus)) => {
                if surplus > 0 {
                    log_surplus(link.endpoint(), ApiKey::API_VERSIONS, surplus);
                }
                return Ok(Some(versions));
            }
            Ok(Step::Again) => {}
            Ok(Step::Refused(code)) => return Err(OpenErrorKind::Refused { code }),
            Err(source) => {
                link.end(CloseCause::Undecodable { api: ApiKey::API_VERSIONS, source: source.clone() });
                let source = link.error(ApiKey::API_VERSIONS, true, CallErrorKind::Decode { source });
                return Err(OpenErrorKind::Negotiate { source });
            }
        }
    }
}
