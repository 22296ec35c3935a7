//! Batches as a reader gets them.
//!
//! Invariant: no record at or after the requested offset is left out, and none before it is returned. A batch that cannot
//! be read is an error, never a gap.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::fetch::AbortedTransaction;
use rskafka_protocol::records::{
    Batch, BatchError, BatchHeader, Compression, Decompressor, Flag, RecordCursor, RecordView, batches,
};

use super::spec::FetchSpec;
use crate::error::{Case, Error, ErrorKind, Result};
use crate::record::{Record, RecordAndOffset};
use crate::time::FromMillis;

/// The batches of one answer that a reader sees.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) batches: Vec<Batch>,
    /// The offset after the last batch that was read, seen or not; never less than the requested offset.
    pub(crate) next_offset: i64,
    /// The leader epoch of that batch; or of the gap up to where the reader ends, if it is known.
    pub(crate) last_epoch: Option<i32>,
    /// The same of the first batch that was read.
    pub(crate) first_epoch: Option<Option<i32>>,
    /// The size of all that were read.
    pub(crate) passed_bytes: usize,
}

/// The batches with offsets at or after the one that was asked for; not all of them if they decompress to more than the
/// decompressor's limit in all. `aborted` are the transactions to be left out.
pub(crate) fn read(
    set: &Bytes,
    spec: &FetchSpec,
    aborted: Vec<AbortedTransaction>,
    decompressor: &mut Decompressor,
) -> Result<Read> {
    let mut read = Read {
        batches: Vec::new(),
        next_offset: spec.offset,
        last_epoch: spec.last_epoch,
        first_epoch: None,
        passed_bytes: 0,
    };
    let mut aborted = Aborted::new(aborted);
    let (mut decompressed, mut has_whole_batch) = (0, false);
    for batch in batches(set).with_decompression_limit(decompressor.limit()) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return read.or(spec, error),
        };
        has_whole_batch = true;
        if batch.next_offset() <= spec.offset {
            continue;
        }
        let epoch = Some(batch.header().partition_leader_epoch).filter(|epoch| *epoch >= 0);
        if batch.base_offset() >= spec.until {
            // The gap has no epoch of its own. If the batches on both sides have the same one, it is that.
            if spec.until > read.next_offset {
                let known = read.last_epoch.filter(|_| read.last_epoch == epoch);
                (read.next_offset, read.last_epoch) = (spec.until, known);
            }
            break;
        }
        let is_seen = spec.every_batch || (!aborted.leaves_out(&batch) && batch.record_count() > 0);
        let is_compressed = batch.compression() != Compression::None && batch.record_count() > 0;
        if is_seen && is_compressed {
            if let Err(error) = batch.decompress(decompressor) {
                return read.or(spec, error);
            }
            decompressed += batch.decompressed_size().unwrap_or_default();
        }
        if is_seen
            && batch.decompressed_size() == Some(0)
            && let Some(Err(error)) = batch.records().next()
        {
            return read.or(spec, error);
        }
        (read.next_offset, read.last_epoch) = (batch.next_offset(), epoch);
        read.first_epoch.get_or_insert(read.last_epoch);
        read.passed_bytes += batch.size_in_bytes();
        if is_seen {
            read.batches.push(batch);
        }
        if decompressed >= decompressor.limit() {
            break;
        }
    }
    if !has_whole_batch && !set.is_empty() {
        // Only a broker without KIP-74 cuts off the first batch.
        return Err(Error::new(Case::CorruptBatch, ErrorKind::CorruptBatch { base_offset: None }));
    }
    Ok(read)
}

impl Read {
    /// What is before an error. The fetch that begins there fails.
    fn or(self, spec: &FetchSpec, error: BatchError) -> Result<Self> {
        if self.next_offset > spec.offset { Ok(self) } else { Err(corrupt(error)) }
    }
}

/// Which batches of an answer belong to transactions that were aborted (Kafka class `CompletedFetch`).
struct Aborted {
    /// Those that begin later in the log, the first one at the end.
    to_come: Vec<AbortedTransaction>,
    /// The producers whose batches are left out, until the marker that ends their transaction.
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn new(mut to_come: Vec<AbortedTransaction>) -> Self {
        // Brokers give them in any order.
        to_come.sort_by_key(|one| std::cmp::Reverse(one.first_offset));
        Self { to_come, producers: BTreeSet::new() }
    }

    /// Whether a reader does not see the batch: it was aborted, or holds control records.
    fn leaves_out(&mut self, batch: &Batch) -> bool {
        while let Some(begun) = self.to_come.pop_if(|one| one.first_offset <= batch.last_offset()) {
            self.producers.insert(begun.producer_id);
        }
        let producer = batch.header().producer_id;
        if batch.is_control() {
            // Producers in the set have aborted, so this is their abort marker.
            self.producers.remove(&producer);
            return true;
        }
        batch.header().attributes.has(Flag::Transactional) && self.producers.contains(&producer)
    }
}

/// A batch of records, with what the log says about it.
///
/// Records outside of what was asked for are left out, but the facts are those of the whole batch.
#[derive(Debug, Clone)]
pub struct FetchedBatch {
    pub(crate) batch: Batch,
    /// The offsets asked for: from, and up to but not including.
    pub(crate) asked: (i64, i64),
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl FetchedBatch {
    /// The records, in the log's order, borrowed from the batch: no allocation and no copy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CorruptBatch`] as the last item, if a record cannot be read.
    pub fn records(&self) -> impl Iterator<Item = Result<RecordView<'_>>> {
        let mut cursor = RecordCursor::new();
        std::iter::from_fn(move || self.advance(&mut cursor))
    }

    /// The records, each sharing the memory of the batch.
    ///
    /// # Errors
    ///
    /// Those of [`records`](Self::records).
    pub fn into_records(self) -> IntoRecords {
        IntoRecords { batch: self, cursor: RecordCursor::new(), times: FromMillis::new() }
    }

    /// The header: offsets, producer id, epoch and sequence, leader epoch, timestamps, flags.
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// The epoch of the leader that wrote it; `None` in formats from before Kafka 0.11.
    pub fn leader_epoch(&self) -> Option<i32> {
        Some(self.header().partition_leader_epoch).filter(|epoch| *epoch >= 0)
    }

    /// The offset after the batch, with or without a record.
    pub fn next_offset(&self) -> i64 {
        self.batch.next_offset()
    }

    /// How the batch is compressed in the log.
    pub fn compression(&self) -> Compression {
        self.batch.compression()
    }

    /// The size of the batch in the log, in bytes, header included.
    pub fn encoded_size(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// The format of the batch: 2; 0 or 1 for a message set from before Kafka 0.11.
    pub fn magic(&self) -> i8 {
        self.batch.magic()
    }

    /// The bytes that the batch holds in memory beside the answer that it came in.
    pub(crate) fn decompressed(&self) -> usize {
        match self.compression() {
            Compression::None => 0,
            _ => self.batch.decompressed_size().unwrap_or_default(),
        }
    }

    fn located(&self, error: Error) -> Error {
        error.located(Some(ApiKey::FETCH), &self.topic, Some(self.partition))
    }

    #[inline]
    fn advance<'a>(&'a self, cursor: &mut RecordCursor) -> Option<Result<RecordView<'a>>> {
        loop {
            match cursor.next(&self.batch)? {
                Ok(record) if record.offset < self.asked.0 => {}
                Ok(record) if record.offset >= self.asked.1 => return None,
                Ok(record) => return Some(Ok(record)),
                Err(error) => return Some(Err(self.located(corrupt(error)))),
            }
        }
    }
}

/// The records of a batch: see [`FetchedBatch::into_records`].
#[derive(Debug)]
pub struct IntoRecords {
    pub(crate) batch: FetchedBatch,
    cursor: RecordCursor,
    times: FromMillis,
}

impl Iterator for IntoRecords {
    type Item = Result<RecordAndOffset>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Self { batch, cursor, times } = self;
        let record = batch.advance(cursor)?;
        Some(record.map(|record| owned(&batch.batch, &record, times)))
    }
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
            header.attributes = header.attributes.with(Flag::Control, is_control);
        });
        batch.into_bytes()
    }

    /// A record of a producer, or the marker that ends its transaction.
    fn transactional(base_offset: i64, producer_id: i64, is_transactional: bool, is_end: bool) -> Bytes {
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, Some(b"x"))).unwrap();
        let mut batch = builder.build().unwrap();
        batch.update_header(|header| {
            (header.base_offset, header.producer_id) = (base_offset, producer_id);
            header.attributes =
                header.attributes.with(Flag::Transactional, is_transactional).with(Flag::Control, is_end);
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

    fn of_epoch(epoch: i32, batch: Bytes) -> Vec<u8> {
        let mut batch = batch.to_vec();
        // Not covered by the checksum.
        batch[12..16].copy_from_slice(&epoch.to_be_bytes());
        batch
    }

    fn spec(offset: i64) -> FetchSpec {
        FetchSpec::of_tests(offset)
    }

    fn read(set: Bytes, offset: i64) -> Result<Read> {
        super::read(&set, &spec(offset), Vec::new(), &mut Decompressor::default())
    }

    /// The records, and the error at their end.
    fn records(read: Read, offset: i64) -> (Vec<RecordAndOffset>, Option<Error>) {
        let (mut records, mut error) = (Vec::new(), None);
        for batch in read.batches {
            let batch =
                FetchedBatch { batch, asked: (offset, i64::MAX), topic: "topic".into(), partition: 0 };
            for record in batch.into_records() {
                match record {
                    Ok(record) => records.push(record),
                    Err(failed) => error = Some(failed),
                }
            }
        }
        (records, error)
    }

    fn codecs() -> Vec<Compression> {
        Compression::ALL.into_iter().filter(|compression| compression.is_supported()).collect()
    }

    fn offsets(read: Read, offset: i64) -> Vec<i64> {
        let (records, error) = records(read, offset);
        assert!(error.is_none(), "{error:?}");
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn batches_without_records_move_the_next_offset() {
        for set in [batch(5, 1, true), empty(5, 1)] {
            let fetched = read(set, 5).unwrap();
            assert_eq!((fetched.next_offset, offsets(fetched, 5)), (6, vec![]));
        }
        let set = [empty(5, 10), batch(15, 1, true), batch(16, 2, false)].concat();
        let fetched = read(set.into(), 7).unwrap();
        assert_eq!((fetched.next_offset, offsets(fetched, 7)), (18, vec![16, 17]));
    }

    #[test]
    fn a_batch_before_the_offset_moves_no_reader_back() {
        let read = read(batch(0, 3, false), 7).unwrap();
        assert_eq!((read.next_offset, offsets(read, 7)), (7, vec![]));
    }

    #[test]
    fn a_first_batch_that_is_cut_off_is_an_error_and_a_last_one_is_not() {
        let whole = batch(0, 2, false);
        assert!(read(whole.slice(..whole.len() - 1), 0).is_err());
        let second = batch(2, 2, false);
        let set = [&whole[..], &second[..second.len() - 1]].concat();
        assert_eq!(offsets(read(set.into(), 0).unwrap(), 0), [0, 1]);
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_not_passed() {
        let good = batch(0, 2, false);
        let mut damaged = batch(2, 2, false).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let found = read([&good[..], &damaged].concat().into(), 0).unwrap();
        assert_eq!((found.next_offset, offsets(found, 0)), (2, vec![0, 1]));
        assert!(read(damaged.into(), 2).is_err());
    }

    #[test]
    fn records_that_cannot_be_read_are_an_error_behind_those_before_them() {
        // Its checksum is right, but it has fewer records than its header says.
        let mut builder = RecordBatchBuilder::new();
        builder.push(NewRecord::new(0, None, None)).unwrap();
        let mut short = builder.build().unwrap();
        short.update_header(|header| {
            (header.base_offset, header.record_count, header.last_offset_delta) = (2, 2, 1);
        });
        let set = [&batch(0, 2, false)[..], &short.into_bytes()].concat();
        let (records, error) = records(read(set.into(), 0).unwrap(), 0);
        assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(error.unwrap().kind(), &ErrorKind::CorruptBatch { base_offset: Some(2) });
    }

    #[test]
    fn a_batch_that_claims_records_and_holds_none_is_not_passed() {
        let mut hollow =
            RecordBatch::without_records(BatchHeader { base_offset: 2, ..BatchHeader::default() });
        hollow.update_header(|header| (header.last_offset_delta, header.record_count) = (1, 2));
        let hollow = hollow.into_bytes();
        assert_eq!(read([&batch(0, 2, false)[..], &hollow].concat().into(), 0).unwrap().next_offset, 2);
        let error = read(hollow, 2).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::CorruptBatch { base_offset: Some(2) });
    }

    #[test]
    fn the_epoch_is_that_of_the_last_batch_and_not_of_the_last_record() {
        let mut set = Vec::new();
        for (base, is_control, epoch) in [(0, false, 3), (1, true, 5)] {
            set.extend(of_epoch(epoch, batch(base, 1, is_control)));
        }
        let fetched = read(set.into(), 0).unwrap();
        assert_eq!((fetched.next_offset, fetched.last_epoch), (2, Some(5)));
    }

    #[test]
    fn nothing_is_read_from_where_the_reader_ends() {
        let set: Bytes = [batch(0, 2, false), batch(5, 2, false), batch(9, 2, false)].concat().into();
        for (until, next) in [(4, 4), (5, 5), (6, 7), (7, 7), (8, 8), (20, 11)] {
            let spec = FetchSpec { until, ..spec(0) };
            let fetched = super::read(&set, &spec, Vec::new(), &mut Decompressor::default()).unwrap();
            assert_eq!(fetched.next_offset, next, "until {until}");
        }
    }

    #[test]
    fn the_epoch_of_a_gap_is_known_between_batches_of_one_epoch() {
        let set = [(0, 3), (5, 3), (9, 4)].map(|(base, epoch)| of_epoch(epoch, batch(base, 2, false)));
        let whole: Bytes = set.concat().into();
        let epoch = |set: &Bytes, offset, last_epoch, until| {
            let spec = FetchSpec { last_epoch, until, ..spec(offset) };
            super::read(set, &spec, Vec::new(), &mut Decompressor::default()).unwrap().last_epoch
        };
        for (until, expected) in [(4, Some(3)), (6, Some(3)), (7, Some(3)), (8, None), (11, Some(4))] {
            assert_eq!(epoch(&whole, 0, None, until), expected, "until {until}");
        }
        // What was read before the gap came in an earlier answer, or is not known.
        let second: Bytes = set[1].clone().into();
        for (last_epoch, expected) in [(Some(3), Some(3)), (Some(2), None), (None, None)] {
            assert_eq!(epoch(&second, 2, last_epoch, 4), expected, "after {last_epoch:?}");
        }
    }

    #[test]
    fn what_is_too_large_when_decompressed_is_left_for_the_next_fetch() {
        for compression in codecs().into_iter().filter(|compression| *compression != Compression::None) {
            let set: Bytes = [0, 10, 20].map(|base| compressed(base, 10, false, compression)).concat().into();
            let one = 10 * (8 + 7);
            let read = |offset, limit| {
                let mut decompressor = Decompressor::with_limit(limit);
                super::read(&set, &spec(offset), Vec::new(), &mut decompressor)
            };
            assert_eq!(offsets(read(0, one).unwrap(), 0).len(), 10, "{compression}");
            assert_eq!(offsets(read(3, one + 1).unwrap(), 3).len(), 17, "{compression}");
            assert_eq!(offsets(read(10, one).unwrap(), 10).len(), 10, "{compression}");
            // A batch that is too large alone can never be read, and says so.
            assert!(read(0, one - 1).is_err(), "{compression}");
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
            prop_assert_eq!(fetched.next_offset, next);
            let (found, _) = self::records(fetched, offset);
            prop_assert_eq!(found.iter().map(|record| record.offset).collect::<Vec<_>>(), records);
            for record in &found {
                let expected = record.offset.to_be_bytes();
                prop_assert_eq!(record.record.value.as_deref(), Some(&expected[..]));
            }
        }

        #[test]
        fn what_was_aborted_is_left_out_and_nothing_else(
            steps in prop::collection::vec((0..3i64, 0..4u8), 1..40),
            skip in 0usize..20,
            seed: u64,
        ) {
            let (mut set, mut seen, mut aborted) = (BytesMut::new(), Vec::new(), Vec::new());
            let mut open: [Vec<i64>; 3] = Default::default();
            for (offset, (producer, step)) in steps.iter().enumerate() {
                let (offset, transaction) = (offset as i64, &mut open[*producer as usize]);
                let is_end = *step == 3 && !transaction.is_empty();
                let is_transactional = *step > 0 || !transaction.is_empty();
                set.extend_from_slice(&transactional(offset, *producer, is_transactional, is_end));
                if is_end {
                    let records = std::mem::take(transaction);
                    match (offset + seed as i64) % 2 {
                        0 => seen.extend(records),
                        _ => aborted.push((*producer, records[0], offset)),
                    }
                } else if is_transactional {
                    transaction.push(offset);
                } else {
                    seen.push(offset);
                }
            }
            seen.extend(open.into_iter().flatten());
            let offset = (skip as i64).min(steps.len() as i64 - 1);
            // As a broker does: those that end behind the offset, in any order.
            aborted.retain(|(.., end)| *end >= offset);
            let mut list: Vec<_> = aborted.into_iter().map(|(producer_id, first_offset, _)| {
                AbortedTransaction { producer_id, first_offset }
            }).collect();
            if seed % 3 == 0 {
                list.reverse();
            }
            let fetched = super::read(&set.freeze(), &spec(offset), list, &mut Decompressor::default()).unwrap();
            prop_assert_eq!(fetched.next_offset, steps.len() as i64);
            seen.retain(|record| *record >= offset);
            seen.sort_unstable();
            prop_assert_eq!(offsets(fetched, offset), seen);
        }
    }
}
