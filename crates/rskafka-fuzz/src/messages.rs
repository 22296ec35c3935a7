//! Requests and responses, of every API and version.
//!
//! Invariant: what decodes can be encoded, decodes to the same again, and has one encoding.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use rskafka_protocol::messages::{Visitor, visit_all};
use rskafka_protocol::{
    ApiKey, DecodeError, Encoder, Message, RequestHeader, ResponseHeader, StructSchema, VersionRange,
};

use crate::{described, memory};

/// What a message is of: direction, API and version.
pub type Kind = (&'static str, ApiKey, i16);

/// Checks what a request frame is, and what it describes.
pub fn check_request(data: &[u8]) {
    request(data);
    check_described("request", data);
}

/// The same of a response frame, with API key and version in front: it does not name them.
pub fn check_response(data: &[u8]) {
    response(data);
    check_described("response", data);
}

/// Checks a request frame, and says what it was if it decodes.
pub fn request(data: &[u8]) -> Option<Kind> {
    let frame = Bytes::copy_from_slice(data);
    let (header, body) = decoded(&frame, || RequestHeader::decode(&frame))?;
    let RequestHeader { api_key, api_version, .. } = header;
    let spoken = spoken().get(&("request", api_key))?;
    (spoken.check_body)(api_version, &body).then_some(("request", api_key, api_version))
}

/// Checks a response frame, and says what it was if it decodes.
pub fn response(data: &[u8]) -> Option<Kind> {
    let (api_key, version, frame) = api_and_version(data)?;
    let spoken = spoken().get(&("response", api_key))?;
    let frame = Bytes::copy_from_slice(frame);
    (spoken.check_frame)(version, &frame).then_some(("response", api_key, version))
}

/// Takes what follows API key and version as the description of a body, too: a changed byte is then
/// another length, where a changed byte of a frame hardly ever is one that fits.
fn check_described(direction: &'static str, data: &[u8]) {
    let Some((api_key, version, description)) = api_and_version(data) else { return };
    let Some(spoken) = spoken().get(&(direction, api_key)) else { return };
    if spoken.versions.contains(version) {
        let body = described::body(spoken.schema, version, (spoken.is_flexible)(version), description);
        let decodes = (spoken.check_body)(version, &body.into());
        assert!(decodes, "{api_key} {direction} version {version} does not decode what its table says");
    }
}

/// What requests begin with, and responses among the seeds.
fn api_and_version(data: &[u8]) -> Option<(ApiKey, i16, &[u8])> {
    let ([a, b, c, d], rest) = data.split_first_chunk()?;
    Some((ApiKey(i16::from_be_bytes([*a, *b])), i16::from_be_bytes([*c, *d]), rest))
}

/// Every direction, API and version that is spoken.
pub fn kinds() -> impl Iterator<Item = Kind> {
    spoken().iter().flat_map(|((direction, api_key), spoken)| {
        spoken.versions.iter().map(|version| (*direction, *api_key, version))
    })
}

struct Spoken {
    versions: VersionRange,
    schema: &'static StructSchema,
    is_flexible: fn(i16) -> bool,
    /// Checks what a version and bytes give; whether they decode.
    check_body: fn(i16, &Bytes) -> bool,
    /// The same with a response's header in front.
    check_frame: fn(i16, &Bytes) -> bool,
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
        let spoken = Spoken {
            versions: M::VERSIONS,
            schema: M::SCHEMA,
            is_flexible: M::is_flexible,
            check_body: check_body::<M>,
            check_frame: check_frame::<M>,
        };
        self.0.insert((direction, M::API_KEY), spoken);
    }
}

fn check_body<M: Message>(version: i16, body: &Bytes) -> bool {
    decoded(body, || M::decode(version, body)).is_some_and(|message| {
        comes_back(&message, version);
        true
    })
}

fn check_frame<M: Message>(version: i16, frame: &Bytes) -> bool {
    if !M::VERSIONS.contains(version) {
        assert!(M::decode(version, frame).is_err(), "{} has no version {version}", M::NAME);
        return false;
    }
    let header = decoded(frame, || ResponseHeader::decode::<M>(version, frame));
    header.is_some_and(|(header, body)| {
        assert_eq!(ResponseHeader::peek_correlation_id(frame), Some(header.correlation_id));
        check_body::<M>(version, &body)
    })
}

/// What was decoded, with memory bounded; an error must be one that can be shown.
fn decoded<T>(bytes: &Bytes, decode: impl FnOnce() -> Result<T, DecodeError>) -> Option<T> {
    match memory::bounded(bytes.len(), decode) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            assert!(error.offset <= bytes.len(), "the error is outside of the bytes: {error}");
            assert!(!error.path.is_empty());
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
