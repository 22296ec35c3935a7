//! API keys and version ranges.
//!
//! Invariant: a negotiated version is in both sides' ranges.

use derive_more::{Debug, Display};

/// The number of an API. An API that this crate does not speak is kept as its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Display)]
#[debug("{self}")]
#[display("{}", self.name().map_or_else(|| format!("api key {_0}"), str::to_owned))]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
pub struct ApiKey(pub i16);

/// The versions from `min` to `max`, both included. Empty if `min` is above `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[display("{min}..={max}")]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl VersionRange {
    /// Whether `version` is in the range.
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The versions in both ranges; empty if there are none.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    /// Whether no version is in the range.
    pub fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Each version, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i16> {
        self.min..=self.max
    }
}
