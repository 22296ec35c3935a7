//! Reading: fetched batches become records.
//!
//! Invariant: no record at or after the asked offset is left out, and none before it is given; an
//! answer that cannot be read is an error, never a gap.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Answer, Attempt, Broker, Call, LeaderHint, News, Prepared, Route, Verdict, Via};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use rskafka_protocol::messages::list_offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use rskafka_protocol::records::{Batch, BatchError, Compression, Decompressor, RecordView, batches};

use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::fetch::Fetched;
use crate::offsets;
use crate::partition::{Inner, LAST_VERSION_BY_NAME};
use crate::record::{Headers, Record, RecordAndOffset};
use crate::time::from_millis;
use crate::topics::invalid;

/// More than what an answer for one partition holds beside the records.
const ANSWER_OVERHEAD: usize = 1024;

/// One fetch, as asked for.
#[derive(Debug, Clone, Copy)]
struct Ask {
    offset: i64,
    min_bytes: i32,
    max_bytes: i32,
    wait: Duration,
    deadline: Deadline,
}

impl Ask {
    fn new(partition: &Inner, offset: i64, bytes: Range<i32>, wait: Duration) -> Result<Self> {
        partition.client.check_open()?;
        if offset < 0 {
            return Err(invalid("an offset is not negative"));
        }
        if bytes.start < 0 || bytes.end < 1 || bytes.start > bytes.end {
            return Err(invalid("min and max bytes make no range"));
        }
        let cluster = partition.client.cluster();
        let timeout = partition.client.limits().api_timeout.saturating_add(wait);
        let deadline = Deadline::after(cluster.env().now(), timeout);
        // An answer larger than the largest frame could never be read.
        let largest = cluster.config().connection.max_frame_bytes.saturating_sub(ANSWER_OVERHEAD);
        let max_bytes = bytes.end.min(i32::try_from(largest).unwrap_or(i32::MAX)).max(1);
        Ok(Self { offset, min_bytes: bytes.start.min(max_bytes), max_bytes, wait, deadline })
    }
}

pub(crate) async fn fetch_records(
    partition: &Inner,
    offset: i64,
    bytes: Range<i32>,
    max_wait_ms: i32,
) -> Result<(Vec<RecordAndOffset>, i64)> {
    let Ok(max_wait_ms) = u64::try_from(max_wait_ms) else {
        return Err(invalid("a wait is not negative"));
    };
    let mut ask = Ask::new(partition, offset, bytes, Duration::from_millis(max_wait_ms))?;
    let env = partition.client.cluster().env();
    let wait_until = Deadline::after(env.now(), ask.wait);
    loop {
        let fetched = fetch_once(partition, ask).await?;
        // A region without records (control batches, compaction) is gone over at once: there is more.
        let is_over = !fetched.records.is_empty() || fetched.next_offset <= ask.offset;
        if is_over {
            return Ok((fetched.records, fetched.high_watermark));
        }
        ask.offset = fetched.next_offset;
        ask.wait = wait_until.remaining(env.now());
    }
}

/// One answer. It may hold no records and still give a later offset to read from.
pub(crate) async fn fetch(
    partition: &Inner,
    offset: i64,
    bytes: Range<i32>,
    wait: Duration,
) -> Result<Fetched> {
    fetch_once(partition, Ask::new(partition, offset, bytes, wait)?).await
}

async fn fetch_once(partition: &Inner, ask: Ask) -> Result<Fetched> {
    let (data, broker) = ask_leader(partition, ask).await?;
    let set = data.records.unwrap_or_default();
    let read = read(set, ask.offset, MAX_DECOMPRESSED).map_err(|error| error.with_broker(&broker))?;
    Ok(Fetched {
        records: read.records,
        next_offset: read.next_offset,
        high_watermark: data.high_watermark,
        last_stable_offset: Some(data.last_stable_offset).filter(|offset| *offset >= 0),
        log_start_offset: Some(data.log_start_offset).filter(|offset| *offset >= 0),
    })
}

async fn ask_leader(partition: &Inner, ask: Ask) -> Result<(PartitionData, Broker)> {
    let call =
        Call { target: partition.target(), via: Via::Own(&partition.fetch_lane), deadline: ask.deadline };
    let build = |route: &Route| request(partition, route, ask);
    let decide = |attempt: Attempt<'_, FetchResponse>| decide(partition.index, attempt);
    let answer = match partition.client.cluster().send(call, build, decide).await {
        Ok(answer) => answer,
        Err(error) if error.failure.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
            let error = Error::of_cluster(error, Outcome::NotWritten);
            return Err(with_bounds(partition, ask, error).await);
        }
        Err(error) => return Err(Error::of_cluster(error, Outcome::NotWritten)),
    };
    let Answer { reply, route } = answer;
    match take_partition(reply.response, partition.index) {
        Some(data) => Ok((data, route.broker)),
        None => Err(Error::new(ErrorKind::InvalidAnswer).with_broker(&route.broker)),
    }
}

fn request(partition: &Inner, route: &Route, ask: Ask) -> Prepared<FetchRequest> {
    let topic_id = route.leader.as_ref().map(|leader| leader.topic_id).unwrap_or_default();
    let data = FetchPartition {
        partition: partition.index,
        current_leader_epoch: route.leader.as_ref().and_then(|leader| leader.epoch).unwrap_or(-1),
        fetch_offset: ask.offset,
        partition_max_bytes: ask.max_bytes,
        ..Default::default()
    };
    let topic = FetchTopic { topic: partition.topic.clone(), topic_id, partitions: vec![data] };
    let request = FetchRequest {
        max_wait_ms: i32::try_from(ask.wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: ask.min_bytes,
        max_bytes: ask.max_bytes,
        topics: vec![topic],
        ..Default::default()
    };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    Prepared { request, max_version, wait: ask.wait }
}

fn decide(index: i32, attempt: Attempt<'_, FetchResponse>) -> Verdict {
    let response = match attempt.outcome {
        Ok(response) => response,
        Err(failure) => return Verdict::of_failure(failure),
    };
    if !response.error_code.is_ok() {
        return Verdict::of_code(response.error_code, None, None);
    }
    let partition = response.responses.iter().flat_map(|topic| &topic.partitions);
    let Some(partition) = partition.into_iter().find(|partition| partition.partition_index == index) else {
        return Verdict::Fail(News::default());
    };
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Verdict::of_code(partition.error_code, None, hint)
}

fn take_partition(response: FetchResponse, index: i32) -> Option<PartitionData> {
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
    partitions.into_iter().find(|partition| partition.partition_index == index)
}

/// The broker says that the offset is out of range, but not what the range is.
async fn with_bounds(partition: &Inner, ask: Ask, error: Error) -> Error {
    let target = partition.target();
    let client = &partition.client;
    let start = offsets::list_at(client, target, EARLIEST_TIMESTAMP, ask.deadline).await;
    let end = offsets::list_at(client, target, LATEST_TIMESTAMP, ask.deadline).await;
    match (start, end) {
        (Ok(start), Ok(end)) => error.with_kind(ErrorKind::OffsetOutOfRange {
            offset: ask.offset,
            log_start: start.offset,
            log_end: end.offset,
        }),
        _ => error,
    }
}

struct Read {
    records: Vec<RecordAndOffset>,
    /// The offset after what was read: never before the offset asked for.
    next_offset: i64,
}

/// How many bytes of records one fetch decompresses before it gives what it has. A batch alone is held to
/// the same limit; with the last one that makes at most twice as much.
const MAX_DECOMPRESSED: usize = Decompressor::DEFAULT_LIMIT;

/// The records at or after `offset`; not all of them, if they are very large when decompressed.
fn read(set: Bytes, offset: i64, max_decompressed: usize) -> Result<Read> {
    let mut read = Read { records: Vec::new(), next_offset: offset };
    let mut decompressed = 0;
    let mut has_whole_batch = false;
    for batch in batches(&set).with_decompression_limit(max_decompressed) {
        let batch = match batch {
            Ok(batch) => batch,
            // What lies before it is good; the fetch that begins with it fails.
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
        // Only a broker that knows no KIP-74 cuts off the first batch.
        return Err(Error::new(ErrorKind::CorruptBatch { base_offset: None }));
    }
    Ok(read)
}

/// Takes a batch's records at or after `offset`, up to one that cannot be read.
fn take_records(batch: &Batch, offset: i64, into: &mut Vec<RecordAndOffset>) -> Result<(), BatchError> {
    let records = batch.records();
    into.reserve(records.size_hint().1.unwrap_or_default());
    for record in records {
        let record = record?;
        if record.offset >= offset {
            into.push(owned(batch, record));
        }
    }
    Ok(())
}

/// The lossless form, which shares the memory of the answer.
fn owned(batch: &Batch, record: RecordView<'_>) -> RecordAndOffset {
    let slice = |part: Option<&[u8]>| part.map(|part| batch.slice(part));
    let headers: Headers = record
        .headers
        .map(|(key, value)| (batch.slice(key), value.map(|value| batch.slice(value))))
        .collect();
    RecordAndOffset {
        offset: record.offset,
        record: Record {
            key: slice(record.key),
            value: slice(record.value),
            headers,
            timestamp: from_millis(record.timestamp),
        },
    }
}

fn corrupt(error: BatchError) -> Error {
    let base_offset = Some(error.base_offset()).filter(|offset| *offset >= 0);
    Error::new(ErrorKind::CorruptBatch { base_offset }).with_source(error)
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
