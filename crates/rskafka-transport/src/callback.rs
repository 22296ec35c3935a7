//! The caller's functions that are asked on each connect: for credentials, or for a certificate.

use std::future::Future;
use std::sync::Arc;

use crate::dial::BoxFuture;
use crate::error::BoxError;

pub(crate) type Callback<T> = Arc<dyn Fn() -> BoxFuture<'static, Result<T, BoxError>> + Send + Sync>;

pub(crate) fn boxed<F, Fut, T, E>(callback: F) -> Callback<T>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    E: Into<BoxError>,
{
    Arc::new(move || {
        let given = callback();
        Box::pin(async move { given.await.map_err(Into::into) })
    })
}
