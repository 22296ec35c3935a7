//! What can go wrong with a connection or a call on it.
//!
//! Invariant: every error names the broker; a call's error also the API.

mod call;
mod close;
mod open;

use std::error::Error;
use std::fmt;

pub use call::{CallError, CallErrorKind};
pub use close::CloseCause;
pub(crate) use open::{Failure, Nature};
pub use open::{OpenError, OpenProgress, Phase};

/// A failure of a library, or of a caller's function.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How many characters of a broker's text an error shows.
pub const MAX_SHOWN: usize = 1000;

/// A broker's text for an error: without control characters, cut to `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(max).collect()
}

/// Displays an error and all its causes on one line.
#[derive(Clone, Copy)]
pub struct WithCauses<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
