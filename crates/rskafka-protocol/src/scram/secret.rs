//! What must not be shown.

use derive_more::{Debug, Deref};
use zeroize::{Zeroize, Zeroizing};

/// A value that `Debug` does not show, and that is wiped when dropped.
#[derive(Clone, Debug, Deref)]
#[deref(forward)]
#[debug("..")]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Keeps `value` from being shown.
    pub fn new(value: impl Into<T>) -> Self {
        Self(Zeroizing::new(value.into()))
    }
}
