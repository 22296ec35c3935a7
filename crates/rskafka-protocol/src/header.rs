//! Request and response headers, and whole requests and responses.
//!
//! Invariant: the message's version decides the header's form, except that a response to ApiVersions always has the
//! oldest form, so that a client can read it before it knows the broker's versions (KIP-511).

use bytes::Bytes;
use nom::Parser;
use nom::number::complete::be_i16;

use crate::encoder::{Encoder, Frame};
use crate::error::{DecodeError, EncodeError, into_wire_error};
use crate::schema::{Message, Request, TaggedFields, decode_tagged, schema};
use crate::wire::{Cx, Layout, Wire};
use crate::{ApiKey, messages};

schema! {
    /// The header in front of a request's body.
    pub struct RequestHeader {
        /// The API called.
        api_key: ApiKey = ApiKey(-1),
        /// The version of the request's body, and of the response.
        api_version: i16,
        /// The number that the broker repeats in the response.
        correlation_id: i32,
        /// The client's name, for the broker's logs and quotas.
        client_id: Option<String>,
    }

    /// The header in front of a response's body.
    pub struct ResponseHeader {
        /// The number of the request that is answered.
        correlation_id: i32,
    }
}

impl RequestHeader {
    /// Appends the header: version 2 if the request's version is flexible, else version 1.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the client's id is too long.
    pub fn encode(&self, flexible: bool, out: &mut Encoder) -> Result<(), EncodeError> {
        encode(self, Self::layout(flexible), out)
    }

    /// Reads a header from the front of a frame (without its length) and gives it with the body.
    ///
    /// If this crate does not know the API or version, the header is read in the oldest form.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the frame ends within the header, or a length in it is impossible.
    pub fn decode(frame: &Bytes) -> Result<(Self, Bytes), DecodeError> {
        let flexible = match (be_i16::<_, ()>, be_i16).parse(frame.as_ref()) {
            Ok((_, (api_key, api_version))) => messages::request_is_flexible(ApiKey(api_key), api_version),
            Err(_) => false,
        };
        decode("RequestHeader", Self::layout(flexible), frame)
    }

    fn layout(flexible: bool) -> Layout {
        Layout { version: if flexible { 2 } else { 1 }, flexible }
    }
}

impl ResponseHeader {
    /// Appends the header of a response of type `M`.
    ///
    /// # Errors
    ///
    /// None: a response header always fits. The result is that of every encoder.
    pub fn encode<M: Message>(&self, version: i16, out: &mut Encoder) -> Result<(), EncodeError> {
        encode(self, Self::layout::<M>(version), out)
    }

    /// Reads the header of a response of type `M` from the front of a frame (without its length) and
    /// gives it with the body.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the frame ends within the header, or a length in it is impossible.
    pub fn decode<M: Message>(version: i16, frame: &Bytes) -> Result<(Self, Bytes), DecodeError> {
        decode("ResponseHeader", Self::layout::<M>(version), frame)
    }

    fn layout<M: Message>(version: i16) -> Layout {
        let flexible = Self::is_flexible::<M>(version);
        Layout { version: i16::from(flexible), flexible }
    }

    /// The correlation id of a response whose type is not known yet; `None` if the frame is too short.
    pub fn peek_correlation_id(frame: &[u8]) -> Option<i32> {
        frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
    }

    /// Whether the header of a response of type `M` has tagged fields (header version 1).
    pub fn is_flexible<M: Message>(version: i16) -> bool {
        M::is_flexible(version) && M::API_KEY != ApiKey::API_VERSIONS
    }
}

/// A header's fields: their lengths are never compact.
fn plain(layout: Layout) -> Layout {
    Layout { flexible: false, ..layout }
}

fn encode<T: Wire>(header: &T, layout: Layout, out: &mut Encoder) -> Result<(), EncodeError> {
    header.write(plain(layout), out)?;
    TaggedFields::new(layout).encode(out);
    Ok(())
}

/// The header in front of a frame, and the body behind it.
fn decode<T: Wire>(name: &'static str, layout: Layout, frame: &Bytes) -> Result<(T, Bytes), DecodeError> {
    let parsed = T::parse(&Cx { frame, layout: plain(layout) }, frame).and_then(|(rest, header)| {
        let (rest, ()) = decode_tagged(&Cx { frame, layout }, rest, &mut |_, _| Ok(()))?;
        Ok((rest, header))
    });
    match parsed {
        Ok((rest, header)) => Ok((header, frame.slice_ref(rest))),
        Err(error) => Err(DecodeError::new(name, layout.version, frame, into_wire_error(error, frame))),
    }
}

/// A request, complete for the socket.
///
/// # Errors
///
/// [`EncodeError`] if this crate does not speak the version, a field has a value that the version cannot carry, or something is
/// too long for its length.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        api_key: R::API_KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let mut out = Encoder::for_frame();
    header.encode(R::is_flexible(version), &mut out)?;
    request.encode(version, &mut out)?;
    out.into_frame()
}

/// A response, complete for the socket.
///
/// # Errors
///
/// Those of [`encode_request`].
pub fn encode_response<M: Message>(
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, EncodeError> {
    let mut out = Encoder::for_frame();
    ResponseHeader { correlation_id }.encode::<M>(version, &mut out)?;
    response.encode(version, &mut out)?;
    out.into_frame()
}

/// Reads a whole response frame (without its length). Bytes behind the message are ignored.
///
/// # Errors
///
/// [`DecodeError`], which says where, if this crate does not speak the version, or the bytes are no such message.
pub fn decode_response<M: Message>(version: i16, frame: &Bytes) -> Result<(ResponseHeader, M), DecodeError> {
    decode_response_with_surplus(version, frame).map(|(header, message, _)| (header, message))
}

/// The same, with the number of bytes behind the message.
///
/// # Errors
///
/// Those of [`decode_response`].
pub fn decode_response_with_surplus<M: Message>(
    version: i16,
    frame: &Bytes,
) -> Result<(ResponseHeader, M, usize), DecodeError> {
    let (header, body) = ResponseHeader::decode::<M>(version, frame)?;
    let (message, surplus) = M::decode_with_surplus(version, &body)
        .map_err(|error| error.behind(frame.len().saturating_sub(body.len())))?;
    Ok((header, message, surplus))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecodeErrorKind;
    use crate::messages::metadata::MetadataResponse;

    #[test]
    fn errors_of_headers_name_version_field_and_place() {
        // Metadata in versions 8 and 9, of which the second has tagged fields in its header.
        for (version, header_version) in [(8, 1), (9, 2)] {
            let frame = Bytes::from(vec![0, 3, 0, version, 0, 0, 0, 7, 0, 2, b'a']);
            let error = RequestHeader::decode(&frame).unwrap_err();
            assert_eq!((error.message, error.version), ("RequestHeader", header_version));
            assert_eq!((error.path.as_str(), error.offset), ("client_id", 10));
            assert_eq!(error.kind, DecodeErrorKind::Truncated);
        }
        let error = RequestHeader::decode(&Bytes::from_static(&[0, 3, 0])).unwrap_err();
        assert_eq!((error.path.as_str(), error.offset), ("api_version", 2));

        let short = Bytes::from_static(&[0, 0, 0, 7]);
        assert_eq!(ResponseHeader::peek_correlation_id(&short), Some(7));
        assert_eq!(ResponseHeader::peek_correlation_id(&short[1..]), None);
        assert_eq!(ResponseHeader::decode::<MetadataResponse>(8, &short).unwrap().0.correlation_id, 7);
        let error = ResponseHeader::decode::<MetadataResponse>(9, &short).unwrap_err();
        assert_eq!((error.message, error.version), ("ResponseHeader", 1));
        assert_eq!((error.path.as_str(), error.offset), ("tagged_fields", 4));
    }
}
