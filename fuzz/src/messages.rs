//! Requests and responses, of every API and version.
//!
//! Invariant: what decodes can be encoded, decodes to the same again, and has one encoding.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::{Buf, Bytes};
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{ApiKey, DecodeError, Encoder, Message, RequestHeader, ResponseHeader, VersionRange};

use crate::memory;

/// What a message is of: direction, API and version.
pub type Kind = (&'static str, ApiKey, i16);

/// Checks a request frame, and says what it was if it decodes.
pub fn request(data: &[u8]) -> Option<Kind> {
    let frame = Bytes::copy_from_slice(data);
    let (header, body) = decoded(&frame, || RequestHeader::decode(&frame))?;
    let RequestHeader { api_key, api_version, .. } = header;
    let spoken = spoken().get(&("request", api_key))?;
    (spoken.check)(api_version, &body).then_some(("request", api_key, api_version))
}

/// Checks a response frame with API key and version in front, as the answer to a request does not name
/// them, and says what it was if it decodes.
pub fn response(data: &[u8]) -> Option<Kind> {
    let mut frame = Bytes::copy_from_slice(data);
    let api_key = ApiKey(frame.try_get_i16().ok()?);
    let version = frame.try_get_i16().ok()?;
    let spoken = spoken().get(&("response", api_key))?;
    (spoken.check)(version, &frame).then_some(("response", api_key, version))
}

/// Every direction, API and version that is spoken.
pub fn kinds() -> impl Iterator<Item = Kind> {
    spoken().iter().flat_map(|((direction, api_key), spoken)| {
        spoken.versions.iter().map(|version| (*direction, *api_key, version))
    })
}

struct Spoken {
    versions: VersionRange,
    /// Checks what a version and bytes give; whether they decode.
    check: fn(i16, &Bytes) -> bool,
}

type Table = BTreeMap<(&'static str, ApiKey), Spoken>;

fn spoken() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut all = All(Table::new());
        visit_all(&mut all);
        all.0
    })
}

struct All(Table);

impl Visitor for All {
    fn visit<M: Message>(&mut self, direction: &'static str) {
        let check = match direction {
            "request" => request_body::<M>,
            _ => response_frame::<M>,
        };
        self.0.insert((direction, M::API_KEY), Spoken { versions: M::VERSIONS, check });
    }
}

fn request_body<M: Message>(version: i16, body: &Bytes) -> bool {
    decoded(body, || M::decode(version, body)).is_some_and(|message| {
        comes_back(&message, version);
        true
    })
}

fn response_frame<M: Message>(version: i16, frame: &Bytes) -> bool {
    if !M::VERSIONS.contains(version) {
        assert!(M::decode(version, frame).is_err(), "{} has no version {version}", M::NAME);
        return false;
    }
    let header = decoded(frame, || ResponseHeader::decode::<M>(version, frame));
    header.is_some_and(|(header, body)| {
        assert_eq!(ResponseHeader::peek_correlation_id(frame), Some(header.correlation_id));
        request_body::<M>(version, &body)
    })
}

/// What was decoded, with memory bounded; an error must be one that can be shown.
fn decoded<T>(bytes: &Bytes, decode: impl FnOnce() -> Result<T, DecodeError>) -> Option<T> {
    match memory::bounded(bytes.len(), decode) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            assert!(error.offset() <= bytes.len(), "the error is outside of the bytes: {error}");
            assert!(!error.path().is_empty());
            None
        }
    }
}

fn comes_back<M: Message>(message: &M, version: i16) {
    let encoded = encode(message, version);
    let again = M::decode(version, &encoded).expect("what was encoded decodes");
    assert_eq!(&again, message, "{} version {version} comes back as another", M::NAME);
    assert_eq!(encode(&again, version), encoded, "{} version {version} has two encodings", M::NAME);
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut out = Encoder::new();
    message.encode(version, &mut out).expect("what decodes can be encoded");
    out.into_bytes()
}
