//! What can go wrong with a connection or a call on it.
//!
//! Invariant: every error names the broker; a call's error also the API.

mod call;
mod close;
mod open;

use std::error::Error;
use std::fmt;

use derive_more::Debug;
use snafu::ChainCompat;

pub use call::{CallError, CallErrorKind};
pub use close::CloseCause;
pub(crate) use open::Failure;
pub use open::{OpenError, OpenProgress, Phase};

/// What the layers above do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nature {
    /// Another attempt may succeed: over another connection, or a moment later.
    Transient,
    /// Time ran out. Another attempt may succeed.
    TimedOut,
    /// The broker throttles the client until after the deadline.
    Throttled,
    /// The configuration, the request or the peer has to change first.
    Lasting,
    /// The client could not authenticate. Further attempts could lock its account.
    Authentication,
    /// The peer's bytes are not a broker's answer. The same request would get the same answer.
    InvalidAnswer,
}

impl Nature {
    /// Whether another attempt may succeed without a change of configuration, credentials or request.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::TimedOut)
    }
}

/// A failure of a library, or of a caller's function.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How many characters of a broker's text an error shows.
pub const MAX_SHOWN: usize = 1000;

/// A broker's text for an error: without control characters, cut to `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(max).collect()
}

/// Displays an error and all its causes on one line.
#[derive(Clone, Copy, Debug)]
#[debug("{self}")]
pub struct WithCauses<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        ChainCompat::new(self.0).skip(1).try_for_each(|cause| write!(f, ": {cause}"))
    }
}
