//! What the layers above use: a connection whose versions are negotiated.
//!
//! Invariant: an answer that cannot be decoded ends the connection, because nothing after it can be
//! trusted.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use derive_more::Debug;
use rskafka_protocol::{ApiKey, DecodeError, Message, Request, decode_response_with_surplus};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tracing::debug;

use crate::address_memory::AddressMemory;
use crate::config::{CallOptions, ConnectionConfig};
use crate::counters::Counters;
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, CallErrorKind, CloseCause, OpenError, OpenProgress};
use crate::identity::{BrokerIdentity, IdentityCheck};
use crate::link;
use crate::opening::{Opened, Opening};
use crate::pipeline::Timing;
use crate::ticket::Traits;
use crate::versions::BrokerVersions;

/// A connection to one broker. Clones are the same connection; it ends when the last one is dropped.
///
/// Requests are pipelined: they go out in the order of the calls without waiting for answers.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: Arc<Opened>,
}

/// A handle that does not keep the connection open.
#[derive(Debug, Clone)]
pub struct WeakConnection {
    inner: Weak<Opened>,
}

impl WeakConnection {
    /// The connection, if another handle still keeps it open.
    pub fn upgrade(&self) -> Option<Connection> {
        self.inner.upgrade().map(|inner| Connection { inner })
    }
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
    ///
    /// # Errors
    ///
    /// [`OpenError`] says which step failed or was under way when time ran out, and why.
    pub async fn open(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        deadline: Deadline,
    ) -> Result<Self, OpenError> {
        let (memory, progress) = (AddressMemory::new(endpoint), OpenProgress::default());
        Self::open_after(env, endpoint, config, &memory, None, deadline, &progress).await
    }

    /// The same, with what earlier connections to the address have learned, and for the broker `expected`:
    /// [`Self::identity_check`] says whether the broker confirmed that. `progress` reports the current step.
    /// Dropping the future closes what it had opened.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn open_after(
        env: &Env,
        endpoint: &Endpoint,
        config: &ConnectionConfig,
        memory: &AddressMemory,
        expected: Option<BrokerIdentity>,
        deadline: Deadline,
        progress: &OpenProgress,
    ) -> Result<Self, OpenError> {
        let deadline = deadline.min(Deadline::after(env.now(), config.connect_timeout));
        let opening = Opening { env, endpoint, config, memory, deadline, progress };
        let opened = opening.run(expected).await;
        let Counters { connects, failed_connects, .. } = &*memory.counters;
        if opened.is_ok() { connects } else { failed_connects }.add(1);
        let opened = opened.inspect_err(|error| {
            debug!(broker = %endpoint, error = error as &(dyn std::error::Error + 'static), "connection not opened");
        })?;
        Ok(Self { inner: Arc::new(opened) })
    }

    /// The broker's address, as it was asked for.
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.link.shared.endpoint
    }

    /// Whether the broker confirmed that the connection was meant for it.
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
    ///
    /// # Errors
    ///
    /// [`CallError`] says why there is no answer, and whether a byte of the request may have reached the broker.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        options: CallOptions,
    ) -> Result<Reply<R::Response>, CallError> {
        let (version, timing) = self.prepare::<R>(options)?;
        self.inner.link.call(request, version, timing, decoder::<R>(version)).await
    }

    /// [`call`](Self::call) in two parts: queues the request now, and gives its answer as a future.
    ///
    /// Never waits: without a place in the queue, or without room for the request's bytes, it fails with
    /// [`CallErrorKind::Full`]. Requests go out in the order of their submits. If no other request is queued, the
    /// caller itself writes to the socket; the connection's task writes what the socket does not take.
    ///
    /// `submit` wakes no waiter of another request, so the caller may hold a lock across it.
    ///
    /// # Errors
    ///
    /// [`CallError`], with nothing sent: [`CallErrorKind::Full`], the broker's versions, a request that cannot be encoded, or a connection
    /// that has ended.
    pub fn submit<R: Request>(
        &self,
        request: &R,
        options: CallOptions,
    ) -> Result<Answer<R::Response>, CallError> {
        let (version, timing) = self.prepare::<R>(options)?;
        let link = &self.inner.link;
        let reply = link.submit(request, version, timing, decoder::<R>(version))?;
        Ok(Answer { reply, api: R::API_KEY, connection: self.clone() })
    }

    /// Waits for a place in the queue and for room, where [`submit`](Self::submit) found none, and holds them for the
    /// request. Ends by the same deadlines as [`call`](Self::call). Cancel safe.
    ///
    /// # Errors
    ///
    /// [`CallError`], with nothing sent: those of [`submit`](Self::submit), and the end of the time.
    pub async fn reserve<R: Request>(
        &self,
        request: &R,
        options: CallOptions,
    ) -> Result<Reserved<R>, CallError> {
        let (version, timing) = self.prepare::<R>(options)?;
        let held = self.inner.link.reserve(request, version, timing).await?;
        Ok(Reserved { held, version, connection: self.clone(), request: PhantomData })
    }

    /// Whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn prepare<R: Request>(&self, options: CallOptions) -> Result<(i16, Timing), CallError> {
        let Opened { link, versions, request_timeout, .. } = &*self.inner;
        let timing =
            Timing { attempt: request_timeout.saturating_add(options.wait), limit: options.deadline };
        let version = versions
            .version_of::<R>(options.min_version, options.max_version)
            .map_err(|source| link.error(R::API_KEY, false, CallErrorKind::UnsupportedVersion { source }))?;
        Ok((version, timing))
    }

    /// Whether another connection should take this one's place, because its SASL session ends soon: it has
    /// used 80 to 90 % of its lifetime. Calls still work until [`CloseCause::SessionExpired`].
    pub fn needs_replacement(&self) -> bool {
        let Opened { link, session, .. } = &*self.inner;
        session.is_some_and(|session| session.replace.is_over(link.shared.env.now()))
    }

    /// Whether the connection has ended or is about to: every further call fails.
    pub fn is_closed(&self) -> bool {
        self.close_cause().is_some()
    }

    /// Why the connection ended.
    pub fn close_cause(&self) -> Option<Arc<CloseCause>> {
        self.inner.link.shared.cause().cloned()
    }

    /// Waits until the socket is closed. The future does not keep the connection open.
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

/// A request that has its place in the queue of a connection, and is not submitted yet. Dropping it frees the place.
#[derive(Debug)]
#[debug("Reserved({version})")]
#[must_use = "it holds a place in the connection's queue"]
pub struct Reserved<R> {
    held: link::Reserved,
    version: i16,
    connection: Connection,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Reserved<R> {
    /// Queues the request now, as [`Connection::submit`] does.
    ///
    /// # Errors
    ///
    /// [`CallError`], with nothing sent, if the connection has ended or the request cannot be encoded.
    pub fn submit(self) -> Result<Answer<R::Response>, CallError> {
        let Self { held, version, connection, .. } = self;
        let link = &connection.inner.link;
        let reply = link.enqueue(held, link.shared.env.now(), decoder::<R>(version))?;
        Ok(Answer { reply, api: R::API_KEY, connection })
    }
}

/// The answer to a request that was submitted.
///
/// Ends by the same deadlines as [`Connection::call`], and keeps the connection open until then. Dropping it takes the
/// request back if none of its bytes was written; otherwise the answer is discarded when it comes.
#[derive(Debug)]
#[debug("Answer({api})")]
#[must_use = "dropping it takes the request back if it has not begun"]
pub struct Answer<T> {
    reply: link::Reply<Reply<T>>,
    api: ApiKey,
    connection: Connection,
}

impl<T> Future for Answer<T> {
    type Output = Result<Reply<T>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply.answer).poll(cx));
        Poll::Ready(reply.unwrap_or_else(|_| Err(self.connection.inner.link.closed(self.api, true))))
    }
}

/// From this size on, an answer without records takes milliseconds to decode.
const MANY_PARTS: usize = 256 * 1024;

/// Does work of the connection's task that takes long. A runtime of several threads has another one do meanwhile what this
/// one would: otherwise all connections could wait, because one thread at a time looks at the sockets.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// Decodes an answer of `version`.
pub(crate) fn decoder<R: Request>(
    version: i16,
) -> impl FnOnce(Bytes) -> Result<(Reply<R::Response>, Traits), DecodeError> + Send + 'static {
    move |frame| {
        let decode = || decode_response_with_surplus::<R::Response>(version, &frame);
        // Records stay as they are; anything else that is large has very many parts.
        let is_long = frame.len() > MANY_PARTS && R::API_KEY != ApiKey::FETCH;
        let (_, response, surplus) = if is_long { beside_others(decode) } else { decode() }?;
        let throttle = Duration::from_millis(response.silence_ms(version).into());
        Ok((Reply { response, version, bytes: frame.len() }, Traits { throttle, surplus }))
    }
}
