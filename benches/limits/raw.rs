//! What a client cannot do without: one blocking socket, a batch copied into one buffer that is used again, a CRC over it, one
//! write and one read for each request. It knows nothing of errors, versions or other partitions.
//!
//! The batch is encoded before. What it costs to encode its records each time is a side of its own. Of many tasks with a record
//! each, the batch has the records of all: nobody can do with fewer requests, or in a shorter time than one takes.

use std::io::{Read, Write};
use std::net::TcpStream;

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use rskafka_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use rskafka_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use rskafka_protocol::{Request, encode_request};

use crate::side::{Call, KEY, TOPIC, Times, WRITTEN, Work, serve};
use crate::{FETCH_BYTES, READ};

/// Versions whose messages hold nothing behind the records, and whose lengths have four bytes each.
const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;

/// Of a batch, before its records.
const BATCH_HEADER: usize = 61;
/// Where fields stand in it: what the length and the CRC cover begins behind them.
const BATCH_LENGTH: usize = 8;
const BATCH_CRC: usize = 17;
/// The low byte of the attributes, and the codec in it.
const BATCH_CODEC: usize = 22;
const LZ4: u8 = 3;
/// What stands before the error code of a produce answer: length, correlation id, count of topics, the topic's name, count of
/// partitions, index.
const BEFORE_ERROR: usize = 4 + 4 + 4 + 2 + TOPIC.len() + 4 + 4;
/// What stands before the records of a fetch answer: length, correlation id, throttle time, code, session, count of topics, name,
/// count of partitions, index, code, three offsets, no aborted transactions, preferred replica, length of the records.
const BEFORE_RECORDS: usize = 4 + 4 + 4 + 2 + 4 + 4 + 2 + TOPIC.len() + 4 + 4 + 2 + 24 + 4 + 4 + 4;

/// The whole of a side, until standard input ends.
pub(crate) fn run(encodes: bool, work: &Work) {
    let mut client = RawClient::connect(work);
    serve(|calls| {
        if work.in_flight > 1 {
            client.produce_in_flight(encodes, calls as usize, work.in_flight);
            return Vec::new();
        }
        let mut times = Times::new(1);
        for _ in 0..calls / work.callers as u32 {
            let since = times.begin();
            match work.call {
                Call::Fetch => assert_eq!(client.fetch(), work.records),
                _ => client.produce(encodes),
            }
            times.end(since);
        }
        times.taken()
    });
}

pub(crate) struct RawClient {
    stream: TcpStream,
    timestamp: i64,
    values: Vec<Vec<u8>>,
    /// A batch of them, uncompressed.
    batch: Vec<u8>,
    is_lz4: bool,
    /// The produce request up to its batch; the batch is written behind it.
    request: Vec<u8>,
    before_batch: usize,
    fetch: Vec<u8>,
    answer: Vec<u8>,
    /// Those of a batch that was compressed.
    records: Vec<u8>,
}

impl RawClient {
    /// Connects to the leader of the two partitions.
    pub(crate) fn connect(work: &Work) -> Self {
        let stream = TcpStream::connect(&work.address).expect("a connection");
        stream.set_nodelay(true).expect("it is a socket");
        let values: Vec<_> = std::iter::repeat_n(work.values(), work.callers).flatten().collect();
        let (request, mut batch) = (produce_request(), Vec::new());
        put_batch(&mut batch, work.timestamp, &values);
        Self {
            stream,
            timestamp: work.timestamp,
            values,
            batch,
            is_lz4: work.is_lz4,
            before_batch: request.len(),
            request,
            fetch: fetch_request(),
            answer: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Appends all of them as one batch.
    pub(crate) fn produce(&mut self, encodes: bool) {
        self.send(encodes);
        self.read_produced();
    }

    /// The same many times, with so many in flight.
    fn produce_in_flight(&mut self, encodes: bool, calls: usize, in_flight: usize) {
        for call in 0..calls {
            if call >= in_flight {
                self.read_produced();
            }
            self.send(encodes);
        }
        (0..calls.min(in_flight)).for_each(|_| self.read_produced());
    }

    fn send(&mut self, encodes: bool) {
        let (request, start) = (&mut self.request, self.before_batch);
        request.truncate(start);
        match (encodes, self.is_lz4) {
            (true, _) => put_batch(request, self.timestamp, &self.values),
            (false, false) => request.extend_from_slice(&self.batch),
            (false, true) => {
                let (header, records) = self.batch.split_at(BATCH_HEADER);
                request.extend_from_slice(header);
                request[start + BATCH_CODEC] = LZ4;
                compress(request, records);
            }
        }
        seal(&mut request[start..]);
        let batch = request.len() - start;
        put(request, start - 4, batch);
        let frame = request.len() - 4;
        put(request, 0, frame);
        self.stream.write_all(request).expect("the broker reads");
    }

    fn read_produced(&mut self) {
        self.read();
        assert_eq!(self.answer[BEFORE_ERROR..BEFORE_ERROR + 2], [0, 0], "the broker refuses the batch");
    }

    /// Reads what lies at the start of the partition, and looks at each record; gives how many there are.
    fn fetch(&mut self) -> usize {
        self.stream.write_all(&self.fetch).expect("the broker reads");
        self.read();
        let mut records = 0;
        let mut rest = &self.answer[BEFORE_RECORDS..];
        // A last batch may be cut.
        while rest.len() > BATCH_HEADER {
            let length = BATCH_LENGTH + 4 + be(rest, BATCH_LENGTH) as usize;
            let Some((batch, after)) = rest.split_at_checked(length) else { break };
            assert_eq!(crc32c::crc32c(&batch[BATCH_CRC + 4..]), be(batch, BATCH_CRC), "the CRC is right");
            records += match batch[BATCH_CODEC] {
                LZ4 => {
                    self.records.clear();
                    let mut decoder = FrameDecoder::new(&batch[BATCH_HEADER..]);
                    decoder.read_to_end(&mut self.records).expect("it is lz4");
                    walk(&self.records)
                }
                _ => walk(&batch[BATCH_HEADER..]),
            };
            rest = after;
        }
        records
    }

    fn read(&mut self) {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("the broker answers");
        let whole = 4 + u32::from_be_bytes(length) as usize;
        if self.answer.len() < whole {
            self.answer.resize(whole, 0);
        }
        self.answer.truncate(whole);
        self.stream.read_exact(&mut self.answer[4..]).expect("the broker answers");
    }
}

fn produce_request() -> Vec<u8> {
    let partition = PartitionProduceData { index: WRITTEN, records: Some(bytes::Bytes::new()) };
    let topic =
        TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    frame(&request, PRODUCE_VERSION)
}

fn fetch_request() -> Vec<u8> {
    let max_bytes = FETCH_BYTES as i32;
    let partition = FetchPartition { partition: READ, partition_max_bytes: max_bytes, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes,
        topics: vec![topic],
        ..Default::default()
    };
    frame(&request, FETCH_VERSION)
}

fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    encode_request(request, version, 1, Some("raw")).expect("it can be encoded").to_bytes().to_vec()
}

/// Appends a batch that is not sealed.
fn put_batch(out: &mut Vec<u8>, first: i64, values: &[Vec<u8>]) {
    let count = values.len() as u32;
    let mut header = [0xff; BATCH_HEADER];
    header[..BATCH_LENGTH].fill(0);
    header[16] = 2;
    header[21..23].fill(0);
    header[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    header[27..35].copy_from_slice(&first.to_be_bytes());
    header[35..43].copy_from_slice(&(first + i64::from(count) - 1).to_be_bytes());
    header[57..].copy_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&header);
    for (index, value) in (0..).zip(values) {
        let size = 2
            + varint_size(2 * index) * 2
            + varint_size(2 * KEY.len() as u64)
            + KEY.len()
            + varint_size(2 * value.len() as u64)
            + value.len();
        put_varint(out, 2 * size as u64);
        out.push(0);
        put_varint(out, 2 * index);
        put_varint(out, 2 * index);
        put_varint(out, 2 * KEY.len() as u64);
        out.extend_from_slice(&KEY);
        put_varint(out, 2 * value.len() as u64);
        out.extend_from_slice(value);
        out.push(0);
    }
}

/// Sets length and CRC.
fn seal(batch: &mut [u8]) {
    let length = batch.len() - BATCH_LENGTH - 4;
    put(batch, BATCH_LENGTH, length);
    let crc = crc32c::crc32c(&batch[BATCH_CRC + 4..]);
    put(batch, BATCH_CRC, crc as usize);
}

/// In blocks of the size that Java's client has, too.
fn compress(out: &mut Vec<u8>, records: &[u8]) {
    let mut encoder = FrameEncoder::with_frame_info(FrameInfo::new().block_size(BlockSize::Max64KB), out);
    encoder.write_all(records).expect("memory takes all");
    encoder.finish().expect("memory takes all");
}

/// How many records there are.
fn walk(mut records: &[u8]) -> usize {
    let mut count = 0;
    while !records.is_empty() {
        let size = varint(&mut records) >> 1;
        let (mut record, rest) = records.split_at(size as usize);
        record = &record[1..];
        varint(&mut record);
        varint(&mut record);
        for _ in 0..2 {
            let length = (varint(&mut record) >> 1) as usize;
            std::hint::black_box(&record[..length]);
            record = &record[length..];
        }
        records = rest;
        count += 1;
    }
    count
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put(out: &mut [u8], at: usize, value: usize) {
    out[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
}

fn be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
