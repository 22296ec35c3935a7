//! Resolves a broker's name and connects to one of its addresses.
//!
//! Invariant: each dial resolves the name again and tries every address.

mod addresses;
mod tcp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::tcp::resolve;
use crate::endpoint::Endpoint;
use crate::error::{Failure, Nature, OpenProgress, Phase};

/// A future of a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream of bytes in both directions.
///
/// Different tasks poll the two directions, so each needs a waker of its own. A flush must send what writes have
/// left in a buffer.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Any [`Stream`].
pub type BoxStream = Box<dyn Stream>;

/// Makes the stream to a host and port. TLS and SASL come on top of it.
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
    /// The stream to `host` and `port`. The future is dropped when its time is over.
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

/// How the streams of an environment are made.
pub(crate) enum Dialer {
    Tcp(Box<dyn Resolver>),
    Custom(Box<dyn Connector>),
}

impl Dialer {
    /// The stream to `endpoint`. `progress` reports the current step, for when the future is dropped.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
        progress: &OpenProgress,
    ) -> Result<BoxStream, Failure> {
        let failed = |text| move |error: io::Error| Failure::new(Nature::Transient, text).because(error);
        match self {
            Self::Custom(connector) => {
                progress.enter(Phase::Connect);
                let stream = connector.connect(endpoint.host.clone(), endpoint.port).await;
                stream.map_err(failed("the connector failed"))
            }
            Self::Tcp(resolver) => {
                let addresses = resolver.resolve(endpoint.host.clone(), endpoint.port).await;
                let addresses = addresses.map_err(failed("the name cannot be resolved"))?;
                if addresses.is_empty() {
                    return Err(Failure::new(Nature::Transient, "the name has no address"));
                }
                progress.enter(Phase::Connect);
                let stream = tcp::connect_any(addresses::interleaved(addresses), progress).await;
                // Later failures have nothing to do with these addresses.
                let failures = progress.forget_addresses();
                let text = || format!("no address can be reached ({})", failures.join("; "));
                Ok(Box::new(stream.ok_or_else(|| Failure::new(Nature::Transient, text()))?))
            }
        }
    }
}
