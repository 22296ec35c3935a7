//! Which version of ApiVersions to ask, until the broker's versions are known (KIP-511).
//!
//! A broker that does not know the version says so, in an answer of version 0. Azure Event Hubs and other brokers
//! close the connection instead; then the client asks in the next lower version of [`AFTER_A_CLOSE`], over another
//! connection. If the broker has accepted the version before, it closed for another reason.
//!
//! From version 5 on the request can say which broker it is meant for (KIP-1242). Kafka 4.4 answers
//! REBOOTSTRAP_REQUIRED, without versions, where that is another; then the same version is asked without it.
//!
//! Invariant: each version asked is lower than the one before, or the same without an identity, so the
//! negotiation ends; and after at most three connections.

use bytes::Bytes;
use rskafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::{
    ApiKey, DecodeError, ErrorCode, Message, decode_response, decode_response_with_surplus,
};

use crate::address_memory::Taken;
use crate::identity::{BrokerIdentity, IdentityCheck};
use crate::versions::BrokerVersions;

/// The versions to ask in after a close: the one before the latest, known since 2019, and the one that all brokers
/// know.
const AFTER_A_CLOSE: [i16; 2] = [3, 0];

/// The first version in which the request names the broker that it is meant for.
const IDENTITY_FROM: i16 = 5;

/// A negotiation under way.
#[derive(Debug)]
pub(crate) struct Negotiation {
    version: i16,
    /// The version that the connection in use began with.
    began_with: i16,
    /// Whether the broker is known to accept it.
    is_known: bool,
    /// Whether the broker has closed a connection, this one's or an earlier one, because of a higher version.
    was_closed: bool,
    /// The broker that the connection is meant for.
    expected: Option<BrokerIdentity>,
    /// Whether the broker said that it is another.
    is_denied: bool,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask again, in [`Negotiation::version`].
    Again,
    /// The versions, and the number of bytes behind the answer's last field.
    Done(BrokerVersions, usize),
    Refused(ErrorCode),
}

impl Negotiation {
    /// `taken` is a version that the broker at this address accepts, if one is known.
    pub(crate) fn new(taken: Option<Taken>, expected: Option<BrokerIdentity>) -> Self {
        let version = taken.map_or(ApiVersionsRequest::VERSIONS.max, |taken| taken.version);
        let is_known = taken.is_some();
        let was_closed = taken.is_some_and(|taken| taken.closes_above);
        Self { version, began_with: version, is_known, was_closed, expected, is_denied: false }
    }

    /// The version with which the next connection to the address should begin.
    pub(crate) fn to_begin_with(&self, versions: &BrokerVersions) -> Taken {
        let newest = versions.version_of::<ApiVersionsRequest>(0, None).unwrap_or(self.version);
        // It closed the connection on this version, so its claim to support it is not trusted.
        let version = if self.was_closed { self.version } else { newest };
        Taken { version, closes_above: self.was_closed }
    }

    /// What the broker said of the identity that it was told.
    pub(crate) fn identity_check(&self) -> IdentityCheck {
        match (&self.expected, self.is_denied) {
            (_, true) => IdentityCheck::Denied,
            (Some(_), false) if self.version >= IDENTITY_FROM => IdentityCheck::Confirmed,
            _ => IdentityCheck::NotMade,
        }
    }

    /// Whether to ask again over another connection, in [`Self::version`], after one has ended without a byte
    /// of an answer.
    pub(crate) fn closed(&mut self) -> bool {
        // A broker that has answered, now or on an earlier connection, did not close because of the version.
        let may_be_too_new = !self.is_known && self.version == self.began_with;
        let lower = AFTER_A_CLOSE.into_iter().find(|lower| may_be_too_new && *lower < self.version);
        if let Some(version) = lower {
            self.version = version;
            self.began_with = version;
            self.was_closed = true;
        }
        lower.is_some()
    }

    /// The version to ask in.
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    pub(crate) fn request(&self) -> ApiVersionsRequest {
        let expected = self.expected.as_ref().filter(|_| !self.is_denied);
        ApiVersionsRequest {
            client_software_name: "rskafka".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: expected.map(|broker| broker.cluster_id.clone()),
            node_id: expected.map_or(-1, |broker| broker.broker_id),
        }
    }

    /// Takes the answer, a whole frame.
    pub(crate) fn answered(&mut self, frame: &Bytes) -> Result<Step, DecodeError> {
        if self.version > 0 && leading_error_code(frame) == Some(ErrorCode::UNSUPPORTED_VERSION) {
            self.version = self.fallback(frame);
            return Ok(Step::Again);
        }
        let (_, response, surplus) =
            decode_response_with_surplus::<ApiVersionsResponse>(self.version, frame)?;
        match response.error_code.ok() {
            Err(ErrorCode::REBOOTSTRAP_REQUIRED) if self.identity_check() == IdentityCheck::Confirmed => {
                self.is_denied = true;
                Ok(Step::Again)
            }
            Ok(()) => Ok(Step::Done(BrokerVersions::from(&response), surplus)),
            Err(code) => Ok(Step::Refused(code)),
        }
    }

    /// Brokers from 2.4 on say which versions of ApiVersions they speak; older ones speak version 0.
    fn fallback(&self, frame: &Bytes) -> i16 {
        let said = decode_response::<ApiVersionsResponse>(0, frame).ok();
        let range =
            said.and_then(|(_, response)| BrokerVersions::from(&response).range(ApiKey::API_VERSIONS));
        let common = range.map(|range| range.intersect(ApiVersionsRequest::VERSIONS));
        match common {
            Some(common) if !common.is_empty() && common.max < self.version => common.max,
            _ => 0,
        }
    }
}

/// The error code, which in every version follows the correlation id.
fn leading_error_code(frame: &[u8]) -> Option<ErrorCode> {
    let code = frame.get(4..)?.first_chunk()?;
    Some(ErrorCode(i16::from_be_bytes(*code)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rskafka_protocol::VersionRange;
    use rskafka_protocol::messages::api_versions::ApiVersion;

    use super::*;

    fn taken(version: i16) -> Taken {
        Taken { version, closes_above: false }
    }

    fn negotiation(version: Option<i16>) -> Negotiation {
        Negotiation::new(version.map(taken), None)
    }

    fn answer(version: i16, error_code: ErrorCode, keys: &[(i16, i16, i16)]) -> Bytes {
        let api_keys = keys
            .iter()
            .map(|&(api_key, min_version, max_version)| ApiVersion { api_key, min_version, max_version })
            .collect();
        let response = ApiVersionsResponse { error_code, api_keys, ..Default::default() };
        let frame = rskafka_protocol::encode_response(&response, version, 7).unwrap();
        frame.to_bytes().slice(4..)
    }

    #[test]
    fn unknown_keys_and_empty_ranges_do_no_harm() {
        for version in ApiVersionsRequest::VERSIONS.iter() {
            let frame =
                answer(version, ErrorCode::NONE, &[(3, 0, 13), (-7, 1, 2), (30_000, 0, 0), (1, 9, 4)]);
            let Ok(Step::Done(versions, 0)) = negotiation(Some(version)).answered(&frame) else { panic!() };
            assert_eq!(versions.range(ApiKey(3)), Some(VersionRange { min: 0, max: 13 }));
            assert_eq!(versions.range(ApiKey(30_000)), Some(VersionRange { min: 0, max: 0 }));
            assert_eq!(versions.range(ApiKey(1)), None);
        }
    }

    #[test]
    fn a_refusal_in_version_0_leads_to_the_version_that_it_names() {
        let refused = |keys: &[_]| {
            let mut negotiation = negotiation(None);
            let step = negotiation.answered(&answer(0, ErrorCode::UNSUPPORTED_VERSION, keys));
            assert_eq!(step, Ok(Step::Again));
            negotiation.version()
        };
        assert_eq!(refused(&[(18, 0, 3)]), 3);
        assert_eq!(refused(&[(18, 1, 2)]), 2);
        assert_eq!(refused(&[]), 0);
        assert_eq!(refused(&[(3, 0, 13)]), 0);
        assert_eq!(refused(&[(18, 3, 1)]), 0);
        assert_eq!(refused(&[(18, 0, 9)]), 0, "the version just refused is not asked again");
        assert_eq!(refused(&[(18, 9, 10)]), 0);
    }

    #[test]
    fn after_a_close_a_lower_version_is_asked_at_most_twice() {
        let mut negotiation = negotiation(None);
        for lower in [3, 0] {
            assert!(negotiation.closed());
            assert_eq!((negotiation.version(), negotiation.began_with), (lower, lower));
        }
        assert!(!negotiation.closed());
    }

    #[test]
    fn a_close_after_an_answer_has_another_reason_than_the_version() {
        for taken in ApiVersionsRequest::VERSIONS.iter() {
            assert!(!negotiation(Some(taken)).closed());
        }
        let mut negotiation = negotiation(None);
        let step = negotiation.answered(&answer(0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 3)]));
        assert_eq!(step, Ok(Step::Again));
        assert!(!negotiation.closed());
    }

    fn meant_for_a_broker(version: Option<i16>) -> Negotiation {
        let expected = BrokerIdentity { cluster_id: "ours".to_owned(), broker_id: 7 };
        Negotiation::new(version.map(taken), Some(expected))
    }

    #[test]
    fn a_broker_that_denies_its_identity_is_asked_again_without_it_and_once() {
        let mut negotiation = meant_for_a_broker(None);
        let request = negotiation.request();
        assert_eq!((request.cluster_id.as_deref(), request.node_id), (Some("ours"), 7));
        let denial = answer(5, ErrorCode::REBOOTSTRAP_REQUIRED, &[]);
        assert_eq!(negotiation.answered(&denial), Ok(Step::Again));
        assert_eq!(negotiation.version(), 5);
        let request = negotiation.request();
        assert_eq!((request.cluster_id, request.node_id), (None, -1));
        assert_eq!(negotiation.answered(&denial), Ok(Step::Refused(ErrorCode::REBOOTSTRAP_REQUIRED)));
        assert_eq!(negotiation.identity_check(), IdentityCheck::Denied);
    }

    #[test]
    fn an_identity_is_confirmed_by_an_answer_of_a_version_that_carries_one_only() {
        for (taken, expected) in [(5, IdentityCheck::Confirmed), (4, IdentityCheck::NotMade)] {
            let frame = answer(taken, ErrorCode::NONE, &[(18, 0, 5)]);
            let mut told = meant_for_a_broker(Some(taken));
            assert!(matches!(told.answered(&frame), Ok(Step::Done(..))));
            assert_eq!(told.identity_check(), expected, "version {taken}");
            let mut untold = negotiation(Some(taken));
            assert!(matches!(untold.answered(&frame), Ok(Step::Done(..))));
            assert_eq!(untold.identity_check(), IdentityCheck::NotMade, "version {taken}");
        }
    }

    #[test]
    fn the_next_connection_begins_with_the_newest_version_that_the_broker_speaks() {
        let learned = |mut negotiation: Negotiation, spoken: &[_]| {
            let frame = answer(negotiation.version(), ErrorCode::NONE, spoken);
            let Ok(Step::Done(versions, 0)) = negotiation.answered(&frame) else { panic!() };
            negotiation.to_begin_with(&versions).version
        };
        assert_eq!(learned(negotiation(Some(3)), &[(18, 0, 3)]), 3);
        assert_eq!(learned(negotiation(Some(3)), &[(18, 0, 9)]), 5, "the broker is newer now");
        assert_eq!(learned(negotiation(Some(3)), &[]), 3, "it does not say");
        let mut older = negotiation(None);
        older.answered(&answer(0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 3)])).unwrap();
        assert_eq!(learned(older, &[(18, 0, 3)]), 3);
        let mut closed = negotiation(None);
        assert!(closed.closed());
        assert_eq!(learned(closed, &[(18, 0, 5)]), 3, "it says so, but closes on 5");
    }

    #[test]
    fn a_broker_that_closes_on_a_version_that_it_names_is_not_asked_in_it_again() {
        let mut negotiation = negotiation(None);
        assert!(negotiation.closed());
        for _ in 0..4 {
            let frame = answer(negotiation.version(), ErrorCode::NONE, &[(18, 0, 5)]);
            let Ok(Step::Done(versions, 0)) = negotiation.answered(&frame) else { panic!() };
            let next = negotiation.to_begin_with(&versions);
            assert_eq!(next, Taken { version: 3, closes_above: true });
            negotiation = Negotiation::new(Some(next), None);
        }
    }

    #[test]
    fn another_error_is_a_refusal() {
        let frame = answer(5, ErrorCode::INVALID_REQUEST, &[]);
        assert_eq!(negotiation(None).answered(&frame), Ok(Step::Refused(ErrorCode::INVALID_REQUEST)));
        let frame = answer(0, ErrorCode::UNSUPPORTED_VERSION, &[]);
        let step = negotiation(Some(0)).answered(&frame);
        assert_eq!(step, Ok(Step::Refused(ErrorCode::UNSUPPORTED_VERSION)));
    }

    proptest! {
        #[test]
        fn whatever_the_broker_answers_the_negotiation_ends(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 6),
            refuse in prop::collection::vec(0..3, 6),
        ) {
            let mut negotiation = meant_for_a_broker(None);
            let identified = |negotiation: &Negotiation| negotiation.request().node_id >= 0;
            let mut asked = (negotiation.version(), identified(&negotiation));
            for (frame, refuse) in frames.into_iter().zip(refuse) {
                let mut frame = [&[0; 4], frame.as_slice()].concat();
                match refuse {
                    1 => drop(frame.splice(4.., [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, frame.len() as u8 % 8])),
                    2 => frame = answer(5, ErrorCode::REBOOTSTRAP_REQUIRED, &[]).to_vec(),
                    _ => {}
                }
                if negotiation.answered(&frame.into()) != Ok(Step::Again) {
                    break;
                }
                let next = (negotiation.version(), identified(&negotiation));
                prop_assert!(next < asked && next.0 >= 0, "{:?} after {:?}", next, asked);
                asked = next;
            }
        }
    }
}
