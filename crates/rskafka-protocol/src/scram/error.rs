//! What ends a SCRAM exchange.
//!
//! Invariant: neither a secret nor bytes of the peer that could hold one are in an error.

use std::borrow::Cow;

use derive_more::Debug;
use snafu::Snafu;

/// An exchange that failed. It cannot be resumed. The message says why.
#[derive(Clone, PartialEq, Eq, Snafu, Debug)]
#[snafu(display("{reason}"))]
#[debug("{self}")]
pub struct ScramError {
    reason: Cow<'static, str>,
}

impl ScramError {
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
}
