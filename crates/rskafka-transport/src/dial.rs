//! From a name to addresses, from addresses to a stream of bytes.
//!
//! Invariant: names are resolved again on each dial, every address is tried, and each failure is kept with
//! its address.

mod addresses;
mod tcp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::tcp::SystemResolver;
use crate::endpoint::Endpoint;
use crate::error::{OpenErrorKind, OpenProgress, Phase};

/// A future of a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream of bytes in both directions.
///
/// The two directions are polled by different tasks, so each needs a waker of its own; and what a write leaves
/// in a buffer must go out on a flush.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Any [`Stream`].
pub type BoxStream = Box<dyn Stream>;

/// Makes the stream to a host and port. It carries plaintext: TLS and SASL are added
/// above it.
///
/// Implemented for closures `Fn(String, u16) -> impl Future<Output = io::Result<impl Stream>>`:
///
/// ```
/// use rskafka_transport::Env;
/// use tokio::net::TcpStream;
///
/// let env = Env::builder()
///     .connector(|host: String, port: u16| async move { TcpStream::connect((host.as_str(), port)).await })
///     .build();
/// ```
pub trait Connector: Send + Sync + 'static {
    /// The stream to `host` and `port`. Dropped when its time is over.
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxStream>>;
}

impl<F, Fut, S> Connector for F
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
    S: Stream,
{
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxStream>> {
        let stream = self(host, port);
        Box::pin(async move { Ok(Box::new(stream.await?) as BoxStream) })
    }
}

/// Finds the addresses of a name. Asked on each dial.
///
/// Implemented for closures `Fn(String, u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>>`.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, each with `port`, the preferred first.
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

impl<F, Fut> Resolver for F
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(self(host, port))
    }
}

/// Why one address could not be reached.
#[derive(Debug, Clone)]
pub struct AddressFailure {
    /// The address.
    pub address: SocketAddr,
    /// The cause; of kind [`io::ErrorKind::TimedOut`] if there was no answer in time.
    pub error: Arc<io::Error>,
}

/// How the streams of an environment are made.
pub(crate) enum Dialer {
    Tcp(Box<dyn Resolver>),
    Custom(Box<dyn Connector>),
}

impl Dialer {
    /// The stream to `endpoint`. `progress` tells how far it got if the future is dropped.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
        progress: &mut Progress<'_>,
    ) -> Result<BoxStream, OpenErrorKind> {
        match self {
            Self::Custom(connector) => {
                progress.enter(Phase::Connect);
                let stream = connector.connect(endpoint.host.clone(), endpoint.port).await;
                stream.map_err(|source| OpenErrorKind::Connector { source })
            }
            Self::Tcp(resolver) => {
                let addresses = resolver.resolve(endpoint.host.clone(), endpoint.port).await;
                let addresses = addresses.map_err(|source| OpenErrorKind::Resolve { source })?;
                if addresses.is_empty() {
                    return Err(OpenErrorKind::NoAddress);
                }
                progress.enter(Phase::Connect);
                match tcp::connect_any(addresses::interleaved(addresses), progress).await {
                    Some(stream) => {
                        // What comes later is not about addresses.
                        progress.failures.clear();
                        progress.trying.clear();
                        Ok(Box::new(stream))
                    }
                    None => Err(OpenErrorKind::Connect { failures: std::mem::take(&mut progress.failures) }),
                }
            }
        }
    }
}

/// How far a dial got.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    phase: Phase,
    shown: &'a OpenProgress,
    failures: Vec<AddressFailure>,
    /// Addresses that have not answered yet.
    trying: Vec<SocketAddr>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(shown: &'a OpenProgress) -> Self {
        shown.enter(Some(Phase::Resolve));
        Self { phase: Phase::Resolve, shown, failures: Vec::new(), trying: Vec::new() }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.shown.enter(Some(phase));
    }

    fn failed(&mut self, address: SocketAddr, error: io::Error) {
        self.trying.retain(|trying| *trying != address);
        self.failures.push(AddressFailure { address, error: Arc::new(error) });
    }

    /// The failures of a dial whose time is over: an address that has not answered counts as one.
    pub(crate) fn into_failures(mut self) -> Vec<AddressFailure> {
        for address in std::mem::take(&mut self.trying) {
            self.failed(address, io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        self.failures
    }
}
