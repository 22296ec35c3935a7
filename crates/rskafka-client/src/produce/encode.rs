//! Records become one batch.

use rskafka_protocol::records::{
    Attributes, BatchHeader, Compression, Decompressor, NewRecord, RecordBatch, RecordBatchBuilder,
};

use crate::error::{Case, Error, ErrorKind, Result};
use crate::record::{Payload, Record, RecordHeaders};
use crate::spare::{self, Spare};
use crate::time::to_millis;

/// Brokers refuse such a record, or take it for one without a timestamp.
pub(crate) const BEFORE_1970: &str = "a record's timestamp is before 1970";

/// How records become a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncodeOptions {
    pub(crate) compression: Compression,
    pub(crate) level: Option<i32>,
    /// How large a batch may be, encoded and compressed.
    pub(crate) max_request_bytes: usize,
    /// How large it may be before it is compressed: a larger one could not be read again.
    pub(crate) max_decompressed_bytes: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        // What a broker takes by default as one request (`socket.request.max.bytes`): beyond it, it ends the connection.
        let max_request_bytes = 100 * 1024 * 1024;
        let max_decompressed_bytes = Decompressor::DEFAULT_LIMIT;
        Self { compression: Compression::None, level: None, max_request_bytes, max_decompressed_bytes }
    }
}

impl EncodeOptions {
    /// What is wrong with them.
    pub(crate) fn check(&self) -> Option<&'static str> {
        let Self { compression, level, .. } = self;
        let has_level = |level: i32| compression.levels().is_some_and(|levels| levels.contains(&level));
        match level {
            _ if !compression.is_supported() => {
                Some("the codec is not part of this build: see the crate's features")
            }
            Some(level) if !has_level(*level) => Some("the codec has no such level"),
            _ => None,
        }
    }
}

/// Room in bytes for the varints that a mark adds: the lengths of its key and value, and a longer one of its record.
const MARK_VARINTS: usize = 8;

/// A header: key and value.
pub(crate) type Header<'a> = (&'a [u8], &'a [u8]);

/// With a mark, that is the first header of the first record, and no record may have another one with its key.
pub(crate) fn encode<K: Payload, V: Payload, H: RecordHeaders>(
    records: impl IntoIterator<Item = Record<K, V, H>>,
    options: &EncodeOptions,
    spare: &Spare,
    mut mark: Option<Header<'_>>,
) -> Result<RecordBatch> {
    let records = records.into_iter();
    let reserved = mark.map(|(key, _)| key);
    let count = records.size_hint().0;
    let mark_size = mark.map_or(0, |(key, value)| key.len() + value.len() + MARK_VARINTS);
    let mut builder = RecordBatchBuilder::new();
    for record in records {
        let Record { key, value, headers, timestamp } = &record;
        let timestamp = to_millis(*timestamp);
        if timestamp < 0 {
            return Err(Error::invalid(BEFORE_1970));
        }
        let new = NewRecord::new(timestamp, key.payload(), value.payload());
        if reserved.is_some_and(|reserved| headers.pairs().any(|(key, _)| key == reserved)) {
            return Err(Error::invalid("a record has a header with the key of an exclusive log's own"));
        }
        let new = new.headers(headers.pairs());
        if builder.is_empty() {
            // As if all were as large as the first: a batch that has to grow is copied each time.
            let expected = builder.size_with(&new).saturating_mul(count).saturating_add(mark_size);
            builder = RecordBatchBuilder::with_buffer(spare.take(expected.min(spare::LARGEST)));
            builder.set_compression(options.compression);
            builder.set_compression_level(options.level);
        }
        let pushed = match mark.take() {
            Some((key, value)) => {
                builder.push(new.headers(std::iter::once((key, Some(value))).chain(headers.pairs())))
            }
            None => builder.push(new),
        };
        pushed.map_err(|full| Error::invalid("the records do not fit into one batch").with_source(full))?;
    }
    build(builder, options)
}

/// Ends a batch that the caller filled, or says why it cannot be appended.
pub(crate) fn build(builder: RecordBatchBuilder, options: &EncodeOptions) -> Result<RecordBatch> {
    if builder.is_empty() {
        return Err(Error::invalid("no records to produce"));
    }
    let uncompressed = builder.encoded_size();
    let mut batch = builder
        .build()
        .map_err(|error| Error::invalid("the records cannot be encoded as one batch").with_source(error))?;
    let header = *batch.header();
    let compression = header.attributes.compression().unwrap_or_default();
    if header.attributes != Attributes::default().with_compression(compression) {
        return Err(Error::invalid("the batch has attributes that only brokers and transactions set"));
    }
    if header.base_timestamp < 0 || header.max_timestamp < 0 {
        return Err(Error::invalid(BEFORE_1970));
    }
    if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
        return Err(Error::invalid("the batch leaves offsets without a record"));
    }
    // What the broker and the line set.
    let mut unset = BatchHeader { base_offset: 0, partition_leader_epoch: -1, ..header };
    unset.set_producer(-1, -1, -1);
    if header != unset {
        batch.update_header(|header| *header = unset);
    }
    let (size, limit) = (uncompressed, options.max_decompressed_bytes);
    if compression != Compression::None && size > limit {
        return Err(Error::new(Case::BatchTooLarge, ErrorKind::BatchTooLarge { size, limit }));
    }
    let (size, limit) = (batch.size_in_bytes(), options.max_request_bytes);
    if size > limit {
        return Err(Error::new(Case::BatchTooLarge, ErrorKind::BatchTooLarge { size, limit }));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn a_batch_has_room_for_its_mark_from_the_first_record_on() {
        let record = Record::new((), vec![7; 100], OffsetDateTime::UNIX_EPOCH);
        let room = |mark: Option<Header<'_>>| {
            let batch = encode([record.clone()], &EncodeOptions::default(), &Spare::default(), mark).unwrap();
            let size = batch.size_in_bytes();
            batch.into_bytes().try_into_mut().unwrap().capacity() - size
        };
        assert_eq!(room(None), 0);
        assert!(
            room(Some((b"a key of some length", &[0; 60]))) < MARK_VARINTS,
            "it has grown, by half of its size or more"
        );
    }
}
