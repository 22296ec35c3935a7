//! Which version of ApiVersions to ask, until the broker's versions are known (KIP-511).
//!
//! A broker that does not know the version says so, in the answer's version 0. Azure Event Hubs, and others that
//! are no Apache Kafka, close the connection instead; then the next lower one of [`AFTER_A_CLOSE`] is asked, over
//! another connection. A broker that has taken the version before closes for another reason.
//!
//! Invariant: each version asked is lower than the one before, so the negotiation ends; and after at most
//! three connections.

use bytes::Bytes;
use rskafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::{
    ApiKey, DecodeError, ErrorCode, Message, decode_response, decode_response_with_surplus,
};

use crate::versions::BrokerVersions;

/// What is asked after a close: the version before the latest, which has the same layout and is known since
/// 2019, and the one that all know.
const AFTER_A_CLOSE: [i16; 2] = [3, 0];

/// A negotiation under way.
#[derive(Debug)]
pub(crate) struct Negotiation {
    version: i16,
    /// The version that the connection in use began with.
    began_with: i16,
    /// Whether the broker is known to take that.
    is_known: bool,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask again, in [`Negotiation::version`].
    Again,
    /// The versions, and how many bytes stand behind the answer's last field.
    Done(BrokerVersions, usize),
    Refused(ErrorCode),
}

impl Negotiation {
    /// `taken` is the version with which the broker has taken a connection before.
    pub(crate) fn new(taken: Option<i16>) -> Self {
        let version = taken.unwrap_or(ApiVersionsRequest::VERSIONS.max);
        Self { version, began_with: version, is_known: taken.is_some() }
    }

    /// The version that the connection in use began with.
    pub(crate) fn began_with(&self) -> i16 {
        self.began_with
    }

    /// Whether to ask again over another connection, in [`Self::version`], after one has ended without a byte
    /// of an answer.
    pub(crate) fn closed(&mut self) -> bool {
        // A broker that has answered, on this connection or an earlier one, was not put off by the version.
        let may_be_too_new = !self.is_known && self.version == self.began_with;
        let lower = AFTER_A_CLOSE.into_iter().find(|lower| may_be_too_new && *lower < self.version);
        if let Some(version) = lower {
            *self = Self { version, began_with: version, is_known: false };
        }
        lower.is_some()
    }

    /// The version to ask in.
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    pub(crate) fn request() -> ApiVersionsRequest {
        ApiVersionsRequest {
            client_software_name: "rskafka".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
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

/// The error code, which stands behind the correlation id in every version.
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
            let Ok(Step::Done(versions, 0)) = Negotiation::new(Some(version)).answered(&frame) else {
                panic!()
            };
            assert_eq!(versions.range(ApiKey(3)), Some(VersionRange { min: 0, max: 13 }));
            assert_eq!(versions.range(ApiKey(30_000)), Some(VersionRange { min: 0, max: 0 }));
            assert_eq!(versions.range(ApiKey(1)), None);
        }
    }

    #[test]
    fn a_refusal_in_version_0_leads_to_the_version_that_it_names() {
        let refused = |keys: &[_]| {
            let mut negotiation = Negotiation::new(None);
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
        let mut negotiation = Negotiation::new(None);
        for lower in [3, 0] {
            assert!(negotiation.closed());
            assert_eq!((negotiation.version(), negotiation.began_with()), (lower, lower));
        }
        assert!(!negotiation.closed());
    }

    #[test]
    fn a_close_after_an_answer_has_another_reason_than_the_version() {
        for taken in ApiVersionsRequest::VERSIONS.iter() {
            assert!(!Negotiation::new(Some(taken)).closed());
        }
        let mut negotiation = Negotiation::new(None);
        let step = negotiation.answered(&answer(0, ErrorCode::UNSUPPORTED_VERSION, &[(18, 0, 3)]));
        assert_eq!(step, Ok(Step::Again));
        assert!(!negotiation.closed());
    }

    #[test]
    fn another_error_is_a_refusal() {
        let frame = answer(4, ErrorCode::INVALID_REQUEST, &[]);
        assert_eq!(Negotiation::new(None).answered(&frame), Ok(Step::Refused(ErrorCode::INVALID_REQUEST)));
        let frame = answer(0, ErrorCode::UNSUPPORTED_VERSION, &[]);
        let step = Negotiation::new(Some(0)).answered(&frame);
        assert_eq!(step, Ok(Step::Refused(ErrorCode::UNSUPPORTED_VERSION)));
    }

    proptest! {
        #[test]
        fn whatever_the_broker_answers_the_negotiation_ends(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 6),
            refuse in prop::collection::vec(any::<bool>(), 6),
        ) {
            let mut negotiation = Negotiation::new(None);
            let mut asked = vec![negotiation.version()];
            for (frame, refuse) in frames.into_iter().zip(refuse) {
                let mut frame = [&[0; 4], frame.as_slice()].concat();
                if refuse {
                    frame.splice(4.., [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, frame.len() as u8 % 8]);
                }
                if negotiation.answered(&frame.into()) != Ok(Step::Again) {
                    break;
                }
                prop_assert!(negotiation.version() < *asked.last().unwrap());
                prop_assert!(negotiation.version() >= 0);
                asked.push(negotiation.version());
            }
        }
    }
}
