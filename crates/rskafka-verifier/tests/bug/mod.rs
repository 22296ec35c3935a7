//! Bugs on command: a broker that breaks its promises, to see that the rules notice.
//!
//! Invariant: a bug happens once, to one append, and the broker does not report it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use rskafka::protocol::frame::LENGTH_PREFIX;
use rskafka::protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use rskafka::protocol::records::batches;
use rskafka::protocol::{ApiKey, Message, RequestHeader, decode_response, encode_request, encode_response};
use rskafka_fake::{FakeCluster, Fault, Rewritten};

/// What a broker does wrong with one append. No real broker may do any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// A batch is acknowledged and not appended.
    LosesBatch,
    /// A batch is appended twice.
    AppendsTwice,
    /// A batch is appended after the one that came after it; both are acknowledged in their order.
    SwapsTwo,
    /// A batch is acknowledged at the offset after its own.
    AnswersWrongOffset,
    /// The last bit of a batch's last value is flipped, and the CRC made to fit. The batch must be uncompressed and
    /// without headers.
    FlipsBit,
}

impl Bug {
    /// Plants the bug in a cluster. It strikes the second append to a partition, because the answer to the
    /// first says where the log ends.
    pub(crate) fn plant(self, cluster: &FakeCluster) {
        let planted = Arc::new(Mutex::new(Some(Planted { bug: self, end: None, held: None })));
        let rewrite = move |header: &RequestHeader, body: &Bytes| match take(&planted) {
            Some(bug) => bug.treat(header, body, &planted),
            None => Rewritten::honest(body),
        };
        cluster.inject(Fault::rewrite(rewrite).on(ApiKey::PRODUCE).always());
    }
}

/// A bug that waits for its append.
struct Planted {
    bug: Bug,
    end: Option<i64>,
    held: Option<Bytes>,
}

/// Where a bug is while it still has something to do and no append is being looked at.
type Place = Arc<Mutex<Option<Planted>>>;

fn take(place: &Place) -> Option<Planted> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(place: &Place, planted: Planted) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(planted);
}

impl Planted {
    /// What to do with an append.
    fn treat(mut self, header: &RequestHeader, body: &Bytes, place: &Place) -> Rewritten {
        let request = ProduceRequest::decode(header.api_version, body).ok();
        let Some((request, end)) = request.clone().zip(self.end) else {
            return self.look_on(header, body, request, place.clone());
        };
        let truth = |bodies| Rewritten { bodies, answer: Box::new(|answer| answer) };
        match self.bug {
            Bug::LosesBatch => said(Vec::new(), acknowledged(header, &request, end)),
            Bug::AppendsTwice => truth(vec![body.clone(), changed(header, request, without_producer)]),
            Bug::FlipsBit => truth(vec![changed(header, request, flipped)]),
            Bug::AnswersWrongOffset => {
                let header = header.clone();
                let answer = move |answer: Option<Bytes>| answer.map(|frame| moved(&header, frame, 1));
                Rewritten { bodies: vec![body.clone()], answer: Box::new(answer) }
            }
            Bug::SwapsTwo => {
                let (answer, count) = (acknowledged(header, &request, end), record_count(&request));
                // With sequence numbers the second would be refused before the first.
                let body = changed(header, request, without_producer);
                if let Some(first) = self.held.take() {
                    return said(vec![body, first], answer);
                }
                self.end = Some(end + count);
                self.held = Some(body);
                put(place, self);
                said(Vec::new(), answer)
            }
        }
    }

    /// Serves an append as it should be, and learns from its answer where the log ends.
    fn look_on(
        mut self,
        header: &RequestHeader,
        body: &Bytes,
        request: Option<ProduceRequest>,
        place: Place,
    ) -> Rewritten {
        let version = header.api_version;
        let answer = move |answer: Option<Bytes>| {
            let response = answer.as_ref().and_then(|frame| response(version, frame));
            let offset = response.and_then(|response| {
                let partition = response.responses.first()?.partition_responses.first()?;
                partition.error_code.is_ok().then_some(partition.base_offset)
            });
            if let Some((request, offset)) = request.zip(offset) {
                self.end = Some(offset + record_count(&request));
            }
            put(&place, self);
            answer
        };
        Rewritten { bodies: vec![body.clone()], answer: Box::new(answer) }
    }
}

/// Serves these requests, and answers with this whatever their result.
fn said(bodies: Vec<Bytes>, frame: Option<Bytes>) -> Rewritten {
    Rewritten { bodies, answer: Box::new(|_| frame) }
}

/// An answer with its offset moved.
fn moved(header: &RequestHeader, frame: Bytes, by: i64) -> Bytes {
    let Some(mut response) = response(header.api_version, &frame) else {
        return frame;
    };
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        partition.base_offset += by;
    }
    encoded(header, &response).unwrap_or(frame)
}

fn response(version: i16, frame: &Bytes) -> Option<ProduceResponse> {
    decode_response(version, &frame.slice(LENGTH_PREFIX..)).ok().map(|(_, response)| response)
}

/// The answer to an append at `offset`.
fn acknowledged(header: &RequestHeader, request: &ProduceRequest, offset: i64) -> Option<Bytes> {
    let responses = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| PartitionProduceResponse {
                index: data.index,
                base_offset: offset,
                log_append_time_ms: -1,
                log_start_offset: 0,
                ..Default::default()
            })
            .collect(),
    });
    encoded(header, &ProduceResponse { responses: responses.collect(), ..Default::default() })
}

fn encoded(header: &RequestHeader, response: &ProduceResponse) -> Option<Bytes> {
    let frame = encode_response(response, header.api_version, header.correlation_id);
    frame.ok().map(|frame| frame.to_bytes())
}
fn record_count(request: &ProduceRequest) -> i64 {
    let records = request.topic_data.first().and_then(|topic| topic.partition_data.first()?.records.as_ref());
    let batch = records.and_then(|records| batches(records).next()?.ok());
    batch.map_or(0, |batch| batch.record_count() as i64)
}

/// The request's body with other batches.
fn changed(header: &RequestHeader, mut request: ProduceRequest, change: fn(&mut [u8])) -> Bytes {
    for data in request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
        if let Some(records) = &mut data.records {
            let mut batch = BytesMut::from(&records[..]);
            change(&mut batch);
            if let Some((head, checked)) = batch.split_at_mut_checked(ATTRIBUTES) {
                head[CRC..].copy_from_slice(&crc32c::crc32c(checked).to_be_bytes());
            }
            *records = batch.freeze();
        }
    }
    let frame = encode_request(&request, header.api_version, header.correlation_id, None).ok();
    let frame = frame.map(|frame| frame.to_bytes().slice(LENGTH_PREFIX..));
    // What was decoded can be encoded.
    frame.and_then(|frame| RequestHeader::decode(&frame).ok()).map_or(Bytes::new(), |(_, body)| body)
}

/// Where a batch has its CRC, what the CRC covers, and the producer's id, epoch and sequence.
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const PRODUCER: std::ops::Range<usize> = 43..57;

fn without_producer(batch: &mut [u8]) {
    if let Some(producer) = batch.get_mut(PRODUCER) {
        producer.fill(0xff);
    }
}

fn flipped(batch: &mut [u8]) {
    // The last byte is the number of headers.
    if let [.., last, _] = batch {
        *last ^= 1;
    }
}
