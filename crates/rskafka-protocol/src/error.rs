//! What can go wrong between bytes and messages.
//!
//! Invariant: every decode error names the message, its version, the field's path and the offset in the frame. No type
//! of the parser library is public.

use derive_more::Display;
use snafu::Snafu;

/// Bytes that cannot be decoded as the message expected.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("cannot decode {message} version {version} at {path} (byte {offset}): {kind}"))]
#[non_exhaustive]
pub struct DecodeError {
    /// The message's name in Kafka's schema, e.g. `ProduceResponse`.
    pub message: &'static str,
    /// The version that was being decoded: of the message, or of the header.
    pub version: i16,
    /// The field at which decoding stopped, e.g. `responses[0].partition_responses[2].base_offset`.
    pub path: String,
    /// The offset in bytes, from the start of what was given to decode.
    pub offset: usize,
    /// What was wrong there.
    pub kind: DecodeErrorKind,
}

impl DecodeError {
    pub(crate) fn new(message: &'static str, version: i16, input: &[u8], error: WireError<'_>) -> Self {
        let segments = error.path.iter().rev().map(|segment| match segment {
            PathSegment::Field(name) => format!(".{name}"),
            PathSegment::Index(index) => format!("[{index}]"),
        });
        let path = match segments.collect::<String>().trim_start_matches('.') {
            "" => "the message itself".to_owned(),
            path => path.to_owned(),
        };
        let offset = (error.input.as_ptr() as usize).saturating_sub(input.as_ptr() as usize);
        Self { message, version, path, offset: offset.min(input.len()), kind: error.kind }
    }

    /// The same error, for a body that begins `bytes` bytes into the frame.
    pub(crate) fn behind(self, bytes: usize) -> Self {
        Self { offset: self.offset.saturating_add(bytes), ..self }
    }
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the field does.
    #[display("the bytes end before the field does")]
    Truncated,
    /// A length that is negative, or larger than what is left.
    #[display("invalid length {_0}")]
    InvalidLength(i64),
    /// Null where the field may not be null in this version.
    #[display("null where a value is required")]
    UnexpectedNull,
    /// A string that is not UTF-8.
    #[display("a string is not UTF-8")]
    InvalidUtf8,
    /// A variable-length integer of more bytes than its type can have.
    #[display("a variable-length integer is too long")]
    VarintOverflow,
    /// Bytes are left over after a tagged field's value, or after a record's last field.
    #[display("{_0} bytes are left over")]
    TrailingBytes(usize),
    /// The version is outside of what this crate speaks.
    #[display("the version is not supported")]
    UnsupportedVersion,
}

/// A message that cannot be written in the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum EncodeError {
    /// The version is outside of what this crate speaks.
    #[snafu(display("{message} has no version {version} here"))]
    UnsupportedVersion {
        /// The message's name in Kafka's schema.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field holds a value that this version cannot carry and that may not be dropped.
    #[snafu(display("field {field} is set, but version {version} cannot carry it"))]
    NotInVersion {
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null where this version requires a value.
    #[snafu(display("field {field} is null, but version {version} requires a value"))]
    UnexpectedNull {
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A value is longer than its length field can say.
    #[snafu(display("a value of {length} bytes or elements is too long for its length field"))]
    TooLong {
        /// The value's length.
        length: usize,
    },
}

/// A step on the way to the field that failed, innermost first while an error travels up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathSegment {
    Field(&'static str),
    Index(usize),
}

/// The parsers' error: where the input stood, and the path gathered on the way up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WireError<'i> {
    pub(crate) input: &'i [u8],
    pub(crate) path: Vec<PathSegment>,
    pub(crate) kind: DecodeErrorKind,
}

/// The parsers' result. The error is boxed so that the good path stays small.
pub(crate) type Parsed<'i, T, E = Box<WireError<'i>>> = nom::IResult<&'i [u8], T, E>;

/// A parser's error: in full, or `()` where speed matters; then the bytes are parsed again to explain a failure.
pub(crate) trait Failure<'i>: nom::error::ParseError<&'i [u8]> {
    fn new(input: &'i [u8], kind: DecodeErrorKind) -> Self;
}

impl<'i> Failure<'i> for Box<WireError<'i>> {
    #[cold]
    fn new(input: &'i [u8], kind: DecodeErrorKind) -> Self {
        Box::new(WireError { input, path: Vec::new(), kind })
    }
}

impl<'i> Failure<'i> for () {
    #[inline]
    fn new(_: &'i [u8], _: DecodeErrorKind) -> Self {}
}

impl<'i> nom::error::ParseError<&'i [u8]> for Box<WireError<'i>> {
    fn from_error_kind(input: &'i [u8], _: nom::error::ErrorKind) -> Self {
        // The parsers taken from nom are fixed-width numbers and `take`: they fail for want of bytes only.
        Failure::new(input, DecodeErrorKind::Truncated)
    }

    fn append(_: &'i [u8], _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

#[inline]
pub(crate) fn fail<'i, T, E: Failure<'i>>(input: &'i [u8], kind: DecodeErrorKind) -> Parsed<'i, T, E> {
    Err(nom::Err::Failure(E::new(input, kind)))
}

#[cold]
pub(crate) fn at(error: nom::Err<Box<WireError<'_>>>, segment: PathSegment) -> nom::Err<Box<WireError<'_>>> {
    error.map(|mut error| {
        error.path.push(segment);
        error
    })
}

/// Takes the error out of nom's wrapper. `Incomplete` cannot occur: only complete parsers are used.
pub(crate) fn into_wire_error<'i>(error: nom::Err<Box<WireError<'i>>>, input: &'i [u8]) -> WireError<'i> {
    match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => *error,
        nom::Err::Incomplete(_) => WireError { input, path: Vec::new(), kind: DecodeErrorKind::Truncated },
    }
}
