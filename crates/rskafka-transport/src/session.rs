//! How long a connection may be used, where its authentication ends (KIP-368).
//!
//! Invariant: reckoned in monotonic time from before the broker began to, so that it ends here first.

use crate::deadline::Deadline;

/// A session that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    /// From when on no request may begin.
    pub(crate) ends: Deadline,
    /// From when on another connection should take its place.
    pub(crate) replace: Deadline,
}
