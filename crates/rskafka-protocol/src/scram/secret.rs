//! What must not be shown.

use std::ops::Deref;

use derive_more::Debug;
use zeroize::{Zeroize, Zeroizing};

/// A value that `Debug` does not show, and that is wiped when dropped.
#[derive(Clone, Debug)]
#[debug("..")]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Keeps `value` from being shown.
    pub fn new(value: impl Into<T>) -> Self {
        Self(Zeroizing::new(value.into()))
    }
}

impl<T: Zeroize> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
