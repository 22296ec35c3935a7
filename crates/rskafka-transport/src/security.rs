//! Proxy, TLS and SASL of a connection.
//!
//! Invariant: TLS ends at the broker itself, also through a proxy, and the credentials go over it.

use crate::dial::BoxStream;
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, Failure, OpenProgress, Phase};
#[cfg(feature = "sasl")]
use crate::sasl::Sasl;
#[cfg(feature = "socks5")]
use crate::socks5::Socks5;
#[cfg(feature = "tls")]
use crate::tls::{Tls, Watched};

/// Proxy, encryption and authentication of a connection; by default none of them.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS with the broker, also through a proxy.
    ///
    /// Needs the feature `tls` or `aws-lc-rs`.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// How the client authenticates.
    ///
    /// Needs the feature `sasl`.
    #[cfg(feature = "sasl")]
    pub sasl: Option<Sasl>,
    /// The proxy through which brokers are reached.
    ///
    /// Needs the feature `socks5`.
    #[cfg(feature = "socks5")]
    pub socks5: Option<Socks5>,
}

impl Security {
    /// Whether the client authenticates by SASL.
    pub fn has_sasl(&self) -> bool {
        #[cfg(feature = "sasl")]
        return self.sasl.is_some();
        #[cfg(not(feature = "sasl"))]
        return false;
    }

    /// The stream to `endpoint`, through the proxy and TLS where configured. `progress` reports the current step.
    pub(crate) async fn dial(
        &self,
        env: &Env,
        endpoint: &Endpoint,
        progress: &OpenProgress,
    ) -> Result<(BoxStream, TlsEvidence), Failure> {
        let stream = self.reach(env, endpoint, progress).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            progress.enter(Phase::Tls);
            let handshake = Box::pin(tls.connect(endpoint, stream)).await;
            let (stream, watched) = handshake.map_err(|failure| failure.within(NO_TLS))?;
            return Ok((stream, TlsEvidence { watched: Some(watched) }));
        }
        Ok((stream, TlsEvidence::default()))
    }

    async fn reach(
        &self,
        env: &Env,
        endpoint: &Endpoint,
        progress: &OpenProgress,
    ) -> Result<BoxStream, Failure> {
        #[cfg(feature = "socks5")]
        if let Some(socks5) = &self.socks5 {
            let proxy = socks5.endpoint();
            let failed =
                |failure: Failure| failure.within(format_args!("cannot connect through proxy {proxy}"));
            let dialled = env.dialer().dial(proxy, progress).await;
            progress.enter(Phase::Proxy);
            let unreachable = "the proxy cannot be reached: check its address, and that it runs";
            let stream = dialled.map_err(|failure| failed(failure.within(unreachable)))?;
            return socks5.connect(endpoint, stream).await.map_err(failed);
        }
        env.dialer().dial(endpoint, progress).await
    }
}

#[cfg(feature = "tls")]
const NO_TLS: &str = "no TLS session";

/// What the TLS handshake has shown that may explain a later failure.
#[derive(Default)]
pub(crate) struct TlsEvidence {
    #[cfg(feature = "tls")]
    watched: Option<std::sync::Arc<Watched>>,
}

impl TlsEvidence {
    /// Why the first request on the connection failed, if TLS is the reason, and in which step.
    pub(crate) fn explain(&self, error: &CallError) -> Option<(Phase, Failure)> {
        #[cfg(feature = "tls")]
        if let Some(failure) = self.watched.as_ref().and_then(|watched| watched.explain(error)) {
            return Some((Phase::Tls, failure.within(NO_TLS)));
        }
        let is_tls = error.close_cause().is_some_and(|cause| cause.is_tls());
        let text = "the port expects TLS: connect with TLS, or to a plaintext port";
        is_tls.then(|| (Phase::Negotiate, Failure::lasting(text).because(error.clone())))
    }
}
