//! Message sets: the formats before record batches (magic 0 and 1), for reading only.
//!
//! Invariant: the result is a batch like any other, its records checked and copied into the form of magic 2.
//!
//! A message is a record, or a wrapper whose value is a compressed set of messages.

use std::sync::OnceLock;

use bytes::Bytes;
use nom::Parser;
use nom::number::complete::{be_i8, be_i32, be_i64, be_u32};

use super::batch::Batch;
use super::{
    Attributes, BatchError, BatchErrorKind, BatchHeader, Compression, Corruption, Decompressor, NewRecord,
    RecordBatchBuilder, Unsupported,
};
use crate::DecodeErrorKind;
use crate::error::{Parsed, fail, into_wire_error};

/// The bits of a message's attributes that have a meaning: codec and timestamp type.
const ATTRIBUTES: i16 = 0b1111;
/// The timestamp of magic 0, which has none.
const NO_TIMESTAMP: i64 = -1;

/// Reads `bytes`, which are the message or wrapper at `position` of a set.
pub(super) fn parse(bytes: Bytes, position: usize, limit: usize) -> Result<Batch, BatchError> {
    // What the message claims as its offset.
    let offset = be_i64::<_, ()>(&bytes[..]).map_or(0, |(_, offset)| offset);
    let error = |kind: BatchErrorKind| BatchError::new(position, offset, kind);
    // The bytes are as many as the message says.
    let (_, message) = Message::parse(&bytes, 0).map_err(error)?;
    let compression = message.compression().map_err(error)?;
    let (header, payload) = match compression {
        Compression::None => copy(message.offset, std::iter::once(Ok(message.clone()))),
        _ => unwrap(&message, compression, limit),
    }
    .map_err(error)?;

    let attributes = Attributes(message.attributes & ATTRIBUTES);
    let header = BatchHeader { attributes, max_timestamp: message.timestamp, ..header };
    let (crc, magic, payload) = (message.crc, message.magic, OnceLock::from(payload));
    Ok(Batch { header, crc, magic, compression, position, bytes, payload, limit })
}

/// The records of a wrapper.
fn unwrap(
    wrapper: &Message<'_>,
    compression: Compression,
    limit: usize,
) -> Result<(BatchHeader, Bytes), BatchErrorKind> {
    if compression == Compression::Zstd {
        // It came with magic 2.
        return Err(Unsupported::Compression(compression).into());
    }
    let value = wrapper.value.ok_or(Corruption::Wrapper)?;
    let set = Decompressor::with_limit(limit).decompress(compression, wrapper.magic, value)?;
    let messages = || messages(&set);

    // Magic 1 counts the messages' offsets from the first; the wrapper has the last one's.
    let last = messages().last().ok_or(Corruption::Wrapper)??;
    let base_offset = match wrapper.magic {
        0 => 0,
        // Some producers left it out (librdkafka), and brokers accepted that.
        _ if wrapper.offset == 0 => 0,
        _ => wrapper.offset.checked_sub(last.offset).filter(|base| *base >= 0).ok_or(Corruption::Wrapper)?,
    };
    let absolute = messages().map(|message| {
        let message = message?;
        if message.magic != wrapper.magic || message.compression()? != Compression::None {
            return Err(Corruption::Wrapper.into());
        }
        let offset = base_offset.checked_add(message.offset).ok_or(Corruption::Wrapper)?;
        Ok(Message { offset, ..message })
    });
    let first = messages().next().ok_or(Corruption::Wrapper)??;
    copy(base_offset.saturating_add(first.offset), absolute)
}

/// The records in the form of magic 2, and its header.
fn copy<'a>(
    base_offset: i64,
    messages: impl Iterator<Item = Result<Message<'a>, BatchErrorKind>>,
) -> Result<(BatchHeader, Bytes), BatchErrorKind> {
    let mut builder = RecordBatchBuilder::new();
    let mut next = base_offset;
    for (index, message) in (0..).zip(messages) {
        let Message { offset, timestamp, key, value, .. } = message?;
        let corrupt = Corruption::MessageOffset { index, offset };
        let gap = offset.checked_sub(next).filter(|_| offset >= 0).and_then(|gap| u32::try_from(gap).ok());
        builder.skip_offsets(gap.ok_or(corrupt)?).map_err(|_| corrupt)?;
        builder.push(NewRecord::new(timestamp, key, value)).map_err(|_| corrupt)?;
        next = offset.checked_add(1).ok_or(corrupt)?;
    }
    let (header, payload) = builder.into_parts();
    Ok((BatchHeader { base_offset, ..header }, payload))
}

#[derive(Debug, Clone)]
struct Message<'a> {
    offset: i64,
    crc: u32,
    magic: i8,
    attributes: i16,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads the first message of a set, which has `index` messages before it.
    fn parse(set: &'a [u8], index: i32) -> Result<(&'a [u8], Self), BatchErrorKind> {
        let corrupt = |error, input| {
            let kind = into_wire_error(error, input).kind;
            BatchErrorKind::from(Corruption::Record { index, kind })
        };
        let (rest, (offset, body)) =
            (be_i64, sized(false)).parse(set).map_err(|error| corrupt(error, set))?;
        let body = body.unwrap_or_default();
        let (covered, stored) = be_u32(body).map_err(|error| corrupt(error, body))?;
        let computed = crc32fast::hash(covered);
        if computed != stored {
            return Err(Corruption::Crc { stored, computed }.into());
        }
        let (_, message) = fields(covered, offset, stored).map_err(|error| corrupt(error, covered))?;
        Ok((rest, message))
    }

    fn compression(&self) -> Result<Compression, BatchErrorKind> {
        let attributes = Attributes(self.attributes);
        attributes.compression().map_err(|codec| Unsupported::Codec(codec).into())
    }
}

/// What a message's CRC covers.
fn fields(covered: &[u8], offset: i64, crc: u32) -> Parsed<'_, Message<'_>> {
    let (rest, (magic, attributes)) = (be_i8, be_i8).parse(covered)?;
    let (rest, timestamp) = match magic {
        0 => (rest, NO_TIMESTAMP),
        1 => be_i64(rest)?,
        _ => return fail(covered, DecodeErrorKind::UnsupportedVersion),
    };
    let (rest, (key, value)) = (sized(true), sized(true)).parse(rest)?;
    if !rest.is_empty() {
        return fail(rest, DecodeErrorKind::TrailingBytes(rest.len()));
    }
    let attributes = i16::from(attributes);
    Ok((rest, Message { offset, crc, magic, attributes, timestamp, key, value }))
}

/// Bytes with their length in front; null is -1.
fn sized<'i>(is_nullable: bool) -> impl Fn(&'i [u8]) -> Parsed<'i, Option<&'i [u8]>> {
    move |input| {
        let (rest, length) = be_i32(input)?;
        if is_nullable && length == -1 {
            return Ok((rest, None));
        }
        match usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) {
            Some((bytes, rest)) => Ok((rest, Some(bytes))),
            None => fail(input, DecodeErrorKind::InvalidLength(i64::from(length))),
        }
    }
}

/// The messages of a decompressed set. An error is the last item.
fn messages(set: &[u8]) -> impl Iterator<Item = Result<Message<'_>, BatchErrorKind>> {
    let (mut rest, mut index) = (set, 0i32);
    std::iter::from_fn(move || {
        let parsed = (!rest.is_empty()).then(|| Message::parse(rest, index))?;
        rest = parsed.as_ref().map(|(behind, _)| *behind).unwrap_or_default();
        index = index.saturating_add(1);
        Some(parsed.map(|(_, message)| message))
    })
}

#[cfg(test)]
mod tests;
