//! How a connection is made secure, and by which way it is dialled.
//!
//! Invariant: TLS is spoken with the broker itself, also through a proxy; credentials go over it.

use crate::dial::{BoxStream, Progress};
use crate::endpoint::Endpoint;
use crate::env::Env;
use crate::error::{CallError, OpenErrorKind};
#[cfg(feature = "socks5")]
use crate::error::{Phase, ProxyError};
#[cfg(feature = "sasl")]
use crate::sasl::Sasl;
#[cfg(feature = "socks5")]
use crate::socks5::Socks5;
#[cfg(feature = "tls")]
use crate::tls::{Tls, Watched};

/// Proxy, encryption and authentication of a connection. By default there is none of them.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS with the broker, also through a proxy.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// How the client proves who it is.
    #[cfg(feature = "sasl")]
    pub sasl: Option<Sasl>,
    /// The proxy through which brokers are reached.
    #[cfg(feature = "socks5")]
    pub socks5: Option<Socks5>,
}

impl Security {
    /// Whether clients prove who they are by SASL.
    pub fn has_sasl(&self) -> bool {
        #[cfg(feature = "sasl")]
        return self.sasl.is_some();
        #[cfg(not(feature = "sasl"))]
        return false;
    }

    /// The stream to `endpoint`, by way of the proxy and TLS. `progress` tells how far it got.
    pub(crate) async fn dial(
        &self,
        env: &Env,
        endpoint: &Endpoint,
        progress: &mut Progress<'_>,
    ) -> Result<(BoxStream, TlsEvidence), OpenErrorKind> {
        let stream = self.reach(env, endpoint, progress).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            progress.enter(crate::error::Phase::Tls);
            let handshake = Box::pin(tls.connect(endpoint, stream)).await;
            let (stream, watched) = handshake.map_err(|source| OpenErrorKind::Tls { source })?;
            return Ok((stream, TlsEvidence { watched: Some(watched) }));
        }
        Ok((stream, TlsEvidence::default()))
    }

    async fn reach(
        &self,
        env: &Env,
        endpoint: &Endpoint,
        progress: &mut Progress<'_>,
    ) -> Result<BoxStream, OpenErrorKind> {
        #[cfg(feature = "socks5")]
        if let Some(socks5) = &self.socks5 {
            let proxy = socks5.endpoint();
            let failed = |source| OpenErrorKind::Proxy { proxy: proxy.clone(), source };
            let stream = env.dialer().dial(proxy, progress).await;
            let stream = stream.map_err(|kind| failed(ProxyError::Unreachable { source: Box::new(kind) }))?;
            progress.enter(Phase::Proxy);
            return socks5.connect(endpoint, stream).await.map_err(failed);
        }
        env.dialer().dial(endpoint, progress).await
    }
}

/// What the TLS handshake showed that may explain a later failure.
#[derive(Default)]
pub(crate) struct TlsEvidence {
    #[cfg(feature = "tls")]
    watched: Option<std::sync::Arc<Watched>>,
}

impl TlsEvidence {
    /// Why the first request on the connection failed, if security is the reason.
    pub(crate) fn explain(&self, error: &CallError) -> Option<OpenErrorKind> {
        #[cfg(feature = "tls")]
        if let Some(source) = self.watched.as_ref().and_then(|watched| watched.explain(error)) {
            return Some(OpenErrorKind::Tls { source });
        }
        let is_tls = error.close_cause().is_some_and(|cause| cause.is_tls());
        is_tls.then(|| OpenErrorKind::TlsExpected { source: error.clone() })
    }
}
