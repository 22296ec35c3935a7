//! The caller's functions that are asked on each connect: for credentials, or for a certificate.

use std::future::Future;

use crate::dial::BoxFuture;
use crate::error::BoxError;

/// Gives credentials, a token or a certificate. It is called for each connection.
///
/// Needs the feature `sasl`, `tls` or `aws-lc-rs`.
///
/// Implemented for closures `Fn() -> impl Future<Output = Result<T, impl Into<BoxError>>>`.
pub trait Provider<T>: Send + Sync + 'static {
    /// What is to be used for the next connection.
    fn provide(&self) -> BoxFuture<'static, Result<T, BoxError>>;
}

impl<T, E, F, Fut> Provider<T> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn provide(&self) -> BoxFuture<'static, Result<T, BoxError>> {
        let given = self();
        Box::pin(async move { given.await.map_err(Into::into) })
    }
}
