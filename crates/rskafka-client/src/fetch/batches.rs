//! Turns fetched batches into records.
//!
//! Invariant: no record at or after the requested offset is left out, and none before it is returned. A batch that cannot
//! be read is an error, never a gap.

use bytes::Bytes;
use rskafka_protocol::records::{Batch, BatchError, Compression, Decompressor, RecordView, batches};

use crate::error::{Case, Error, ErrorKind, Result};
use crate::record::{Record, RecordAndOffset};
use crate::time::FromMillis;

/// The records of one answer.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) records: Vec<RecordAndOffset>,
    /// The offset after the last batch that was read; never less than the requested offset.
    pub(crate) next_offset: i64,
}

/// After how many decompressed bytes a fetch returns the records it has. A single batch has the same limit, so a fetch
/// decompresses less than twice as much.
pub(crate) const MAX_DECOMPRESSED: usize = Decompressor::DEFAULT_LIMIT;

/// The records at or after `offset`; not all of them if they decompress to more than `max_decompressed`.
pub(crate) fn read(set: Bytes, offset: i64, max_decompressed: usize) -> Result<Read> {
    let mut read = Read { records: Vec::new(), next_offset: offset };
    let mut decompressed = 0;
    let mut has_whole_batch = false;
    for batch in batches(&set).with_decompression_limit(max_decompressed) {
        let batch = match batch {
            Ok(batch) => batch,
            // Return the intact batches before it. The fetch that begins with this one fails.
            Err(_) if !read.records.is_empty() => break,
            Err(error) => return Err(corrupt(error)),
        };
        has_whole_batch = true;
        if !batch.is_control() && batch.next_offset() > offset {
            let before = read.records.len();
            if let Err(error) = take_records(&batch, offset, &mut read.records) {
                read.records.truncate(before);
                return if before > 0 { Ok(read) } else { Err(corrupt(error)) };
            }
            if batch.compression() != Compression::None {
                decompressed += batch.decompressed_size().unwrap_or_default();
            }
        }
        read.next_offset = read.next_offset.max(batch.next_offset());
        if decompressed >= max_decompressed && !read.records.is_empty() {
            break;
        }
    }
    if !has_whole_batch && !set.is_empty() {
        // Only a broker without KIP-74 cuts off the first batch.
        return Err(Error::new(Case::CorruptBatch, ErrorKind::CorruptBatch { base_offset: None }));
    }
    Ok(read)
}

/// Adds a batch's records at or after `offset`. After an error, some may have been added.
fn take_records(batch: &Batch, offset: i64, into: &mut Vec<RecordAndOffset>) -> Result<(), BatchError> {
    let records = batch.records();
    into.reserve(records.size_hint().1.unwrap_or_default());
    let mut times = FromMillis::new();
    for record in records {
        let record = record?;
        if record.offset >= offset {
            into.push(owned(batch, &record, &mut times));
        }
    }
    Ok(())
}

/// A record that shares the memory of the answer.
#[inline]
fn owned(batch: &Batch, record: &RecordView<'_>, times: &mut FromMillis) -> RecordAndOffset {
    let slice = |part: Option<&[u8]>| part.map(|part| batch.slice(part));
    let headers = record.headers.clone().map(|(key, value)| (batch.slice(key), slice(value))).collect();
    let (key, value, timestamp) = (slice(record.key), slice(record.value), times.convert(record.timestamp));
    RecordAndOffset { offset: record.offset, record: Record { key, value, headers, timestamp } }
}

fn corrupt(error: BatchError) -> Error {
    let base_offset = Some(error.base_offset).filter(|offset| *offset >= 0);
    Error::new(Case::CorruptBatch, ErrorKind::CorruptBatch { base_offset }).with_source(error)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use rskafka_protocol::records::{Attributes, BatchHeader, NewRecord, RecordBatch, RecordBatchBuilder};

    use super::*;

    fn batch(base_offset: i64, count: usize, is_control: bool) -> Bytes {
        compressed(base_offset, count, is_control, Compression::None)
    }

    fn compressed(base_offset: i64, count: usize, is_control: bool, compression: Compression) -> Bytes {
        let mut builder = RecordBatchBuilder::new();
        builder.set_compression(compression);
        for number in 0..count {
            let value = (base_offset + number as i64).to_be_bytes();
            builder.push(NewRecord::new(0, None, Some(&value))).unwrap();
        }
        let mut batch = builder.build().unwrap();
        batch.update_header(|header| {
            header.base_offset = base_offset;
            header.attributes = header.attributes.with_control(is_control);
        });
        batch.into_bytes()
    }

    /// What compaction leaves of a batch whose records are all gone.
    fn empty(base_offset: i64, count: i32) -> Bytes {
        let header = BatchHeader {
            base_offset,
            last_offset_delta: count - 1,
            attributes: Attributes::default(),
            ..BatchHeader::default()
        };
        RecordBatch::without_records(header).into_bytes()
    }

    fn read(set: Bytes, offset: i64) -> Result<Read> {
        super::read(set, offset, MAX_DECOMPRESSED)
    }

    fn codecs() -> Vec<Compression> {
        Compression::ALL.into_iter().filter(|compression| compression.is_supported()).collect()
    }

    fn offsets(read: &Read) -> Vec<i64> {
        read.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn batches_without_records_move_the_next_offset() {
        for set in [batch(5, 1, true), empty(5, 1)] {
            let fetched = read(set, 5).unwrap();
            assert_eq!((offsets(&fetched), fetched.next_offset), (vec![], 6));
        }
        let set = [empty(5, 10), batch(15, 1, true), batch(16, 2, false)].concat();
        let fetched = read(set.into(), 7).unwrap();
        assert_eq!((offsets(&fetched), fetched.next_offset), (vec![16, 17], 18));
    }

    #[test]
    fn a_batch_before_the_offset_moves_no_reader_back() {
        let read = read(batch(0, 3, false), 7).unwrap();
        assert_eq!((offsets(&read), read.next_offset), (vec![], 7));
    }

    #[test]
    fn a_first_batch_that_is_cut_off_is_an_error_and_a_last_one_is_not() {
        let whole = batch(0, 2, false);
        assert!(read(whole.slice(..whole.len() - 1), 0).is_err());
        let second = batch(2, 2, false);
        let set = [&whole[..], &second[..second.len() - 1]].concat();
        assert_eq!(offsets(&read(set.into(), 0).unwrap()), [0, 1]);
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_not_passed() {
        let good = batch(0, 2, false);
        let mut damaged = batch(2, 2, false).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        // Its checksum is right, but it has fewer records than its header says.
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, None)).unwrap();
        let mut short = builder.build().unwrap();
        short.update_header(|header| {
            (header.base_offset, header.record_count, header.last_offset_delta) = (2, 2, 1);
        });
        for bad in [Bytes::from(damaged), short.into_bytes()] {
            let found = read([&good[..], &bad].concat().into(), 0).unwrap();
            assert_eq!((offsets(&found), found.next_offset), (vec![0, 1], 2));
            assert!(read(bad, 2).is_err());
        }
    }

    #[test]
    fn what_is_too_large_when_decompressed_is_left_for_the_next_fetch() {
        for compression in codecs().into_iter().filter(|compression| *compression != Compression::None) {
            let set: Bytes = [0, 10, 20].map(|base| compressed(base, 10, false, compression)).concat().into();
            let one = 10 * (8 + 7);
            assert_eq!(super::read(set.clone(), 0, one).unwrap().records.len(), 10, "{compression}");
            assert_eq!(super::read(set.clone(), 3, one + 1).unwrap().records.len(), 17, "{compression}");
            assert_eq!(super::read(set.clone(), 10, one).unwrap().records.len(), 10, "{compression}");
            // A batch that is too large alone can never be read, and says so.
            assert!(super::read(set, 0, one - 1).is_err(), "{compression}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_is_what_is_there_from_the_offset_on(
            counts in prop::collection::vec((1usize..5, any::<bool>(), prop::sample::select(codecs())), 1..8),
            skip in 0usize..20,
        ) {
            let mut set = BytesMut::new();
            let (mut next, mut records) = (0i64, Vec::new());
            for (count, is_control, compression) in counts {
                set.extend_from_slice(&compressed(next, count, is_control, compression));
                let end = next + count as i64;
                if !is_control {
                    records.extend(next..end);
                }
                next = end;
            }
            let offset = (skip as i64).min(next - 1);
            let fetched = read(set.freeze(), offset).unwrap();
            records.retain(|record| *record >= offset);
            prop_assert_eq!(offsets(&fetched), records);
            prop_assert_eq!(fetched.next_offset, next);
            for record in &fetched.records {
                prop_assert_eq!(record.record.value.as_deref(), Some(&record.offset.to_be_bytes()[..]));
            }
        }
    }
}
