//! The versions of each API that a broker speaks.
//!
//! Invariant: a version returned is in the broker's range and in ours.

use std::collections::BTreeMap;

use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka_protocol::{ApiKey, Request, VersionRange};
use snafu::Snafu;

/// The versions that a broker speaks, as it said when the connection was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerVersions {
    ranges: BTreeMap<ApiKey, VersionRange>,
}

impl BrokerVersions {
    /// The broker's versions of an API, whether or not this crate speaks it; `None` if it has none.
    pub fn range(&self, api: ApiKey) -> Option<VersionRange> {
        self.ranges.get(&api).copied()
    }

    /// The broker's versions of each API that it has, in ascending order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (ApiKey, VersionRange)> {
        self.ranges.iter().map(|(api, range)| (*api, *range))
    }

    /// The highest version of `R` that both sides speak and that is neither below `min` nor above `max`.
    ///
    /// # Errors
    ///
    /// [`UnsupportedVersion`] if there is none; it names the versions of both.
    pub fn version_of<R: Request>(&self, min: i16, max: Option<i16>) -> Result<i16, UnsupportedVersion> {
        let ours = VersionRange { min: R::VERSIONS.min.max(min), ..R::VERSIONS };
        self.common(R::API_KEY, ours, max)
    }

    fn common(&self, api: ApiKey, ours: VersionRange, max: Option<i16>) -> Result<i16, UnsupportedVersion> {
        let capped = VersionRange { max: ours.max.min(max.unwrap_or(i16::MAX)), ..ours };
        let broker = self.range(api);
        match broker.map(|broker| broker.intersect(capped)) {
            Some(common) if !common.is_empty() => Ok(common.max),
            _ => Err(UnsupportedVersion { api, ours: capped, broker }),
        }
    }
}

/// Empty ranges are left out. Of an API named twice, the last range counts.
impl From<&ApiVersionsResponse> for BrokerVersions {
    fn from(response: &ApiVersionsResponse) -> Self {
        let range = |api: &ApiVersion| VersionRange { min: api.min_version, max: api.max_version };
        let ranges = response.api_keys.iter().map(|api| (ApiKey(api.api_key), range(api)));
        Self { ranges: ranges.filter(|(_, range)| !range.is_empty()).collect() }
    }
}

/// No version of an API is common to both sides.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("no common version: this client can use {ours}, the broker {}", match broker {
    Some(range) => format!("speaks {range}"),
    None => "does not have this API".to_owned(),
}))]
pub struct UnsupportedVersion {
    api: ApiKey,
    ours: VersionRange,
    broker: Option<VersionRange>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const API: ApiKey = ApiKey(3);

    fn range(min: i16, max: i16) -> VersionRange {
        VersionRange { min, max }
    }

    fn versions<const N: usize>(ranges: [(ApiKey, VersionRange); N]) -> BrokerVersions {
        let api_keys = ranges.map(|(api, VersionRange { min, max })| {
            let mut version = ApiVersion::default();
            (version.api_key, version.min_version, version.max_version) = (api.0, min, max);
            version
        });
        BrokerVersions::from(&ApiVersionsResponse { api_keys: api_keys.into(), ..Default::default() })
    }

    proptest! {
        #[test]
        fn the_highest_common_version_is_taken_for_every_pair_of_ranges(
            broker in (-1i16..8, -1i16..8),
            ours in (0i16..8, 0i16..8),
            max in prop::option::of(-1i16..9),
        ) {
            let (broker, ours) = (range(broker.0, broker.1), range(ours.0, ours.1));
            let versions = versions([(API, broker), (ApiKey(999), range(0, 3))]);
            let expected = ours
                .iter()
                .filter(|version| broker.contains(*version))
                .filter(|version| max.is_none_or(|max| *version <= max))
                .max();
            prop_assert_eq!(versions.common(API, ours, max).ok(), expected);
        }
    }

    #[test]
    fn an_api_without_a_common_version_says_both_ranges() {
        let versions = versions([(API, range(0, 3)), (ApiKey(1), range(5, 4))]);
        let said = |api, ours, max| versions.common(api, ours, max).unwrap_err().to_string();
        assert_eq!(
            said(API, range(4, 12), None),
            "no common version: this client can use 4..=12, the broker speaks 0..=3"
        );
        assert!(said(ApiKey(1), range(0, 1), None).ends_with("the broker does not have this API"));
        assert!(said(API, range(4, 12), Some(3)).contains("can use 4..=3"));
    }
}
