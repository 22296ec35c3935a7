//! Bugs on command: a broker that breaks its promises, to see that a checker notices.
//!
//! Invariant: without one planted nothing here runs; a bug happens once, to one append, and the broker
//! says nothing of it.

use bytes::{Bytes, BytesMut};
use rskafka_protocol::frame::LENGTH_PREFIX;
use rskafka_protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use rskafka_protocol::records::batches;
use rskafka_protocol::{Message, RequestHeader, decode_response, encode_request, encode_response};

use crate::api::Reply;

/// What a broker does wrong with one append, given to
/// [`FakeCluster::plant`](crate::FakeCluster::plant). No real broker may do any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A batch is acknowledged and not appended.
    LosesBatch,
    /// A batch is appended twice.
    AppendsTwice,
    /// A batch is appended after the one that came after it; both are acknowledged in their order.
    SwapsTwo,
    /// A batch is acknowledged at the offset after its own.
    AnswersWrongOffset,
    /// The last bit of a batch's last value is turned over, and the CRC made to fit. It takes an
    /// uncompressed batch without headers.
    FlipsBit,
}

/// All bugs.
pub const BUGS: [Bug; 5] =
    [Bug::LosesBatch, Bug::AppendsTwice, Bug::SwapsTwo, Bug::AnswersWrongOffset, Bug::FlipsBit];

/// A bug that waits for its append: the second to a partition, because the first one's answer says where
/// the log ends.
#[derive(Debug)]
pub(crate) struct Planted {
    bug: Bug,
    end: Option<i64>,
    held: Option<Bytes>,
}

/// How an append is treated.
pub(crate) enum Treatment {
    /// As it should be; the answer is shown to [`Planted::answered`].
    Honest,
    /// These bodies of requests are served one after the other, if any; then this is answered, or else
    /// what the first one is answered, its offset moved by so much.
    Wrong { bodies: Vec<Bytes>, reply: Option<Reply>, moved: i64 },
}

impl Planted {
    pub(crate) fn new(bug: Bug) -> Self {
        Self { bug, end: None, held: None }
    }

    /// What to do with an append; gives the bug back while it still has something to do.
    pub(crate) fn treat(mut self, header: &RequestHeader, body: &Bytes) -> (Treatment, Option<Self>) {
        let request = ProduceRequest::decode(header.api_version, body).ok();
        let (Some(request), Some(end)) = (request, self.end) else {
            return (Treatment::Honest, Some(self));
        };
        let wrong = |bodies, reply, moved| Treatment::Wrong { bodies, reply, moved };
        let treatment = match self.bug {
            Bug::LosesBatch => wrong(Vec::new(), acknowledged(header, &request, end), 0),
            Bug::AppendsTwice => {
                let again = changed(header, request, without_producer);
                wrong(vec![body.clone(), again], None, 0)
            }
            Bug::AnswersWrongOffset => wrong(vec![body.clone()], None, 1),
            Bug::FlipsBit => wrong(vec![changed(header, request, flipped)], None, 0),
            Bug::SwapsTwo => {
                let reply = acknowledged(header, &request, end);
                match self.held.take() {
                    Some(first) => wrong(vec![body.clone(), first], reply, 0),
                    None => {
                        self.end = Some(end + record_count(&request));
                        self.held = Some(body.clone());
                        return (wrong(Vec::new(), reply, 0), Some(self));
                    }
                }
            }
        };
        (treatment, None)
    }

    /// Takes in where the log ends after an append that was treated as it should be.
    pub(crate) fn answered(&mut self, header: &RequestHeader, body: &Bytes, reply: &Reply) {
        let request = ProduceRequest::decode(header.api_version, body);
        let offset = response(header, reply).and_then(|response| {
            let partition = response.responses.first()?.partition_responses.first()?;
            partition.error_code.is_ok().then_some(partition.base_offset)
        });
        if let (Ok(request), Some(offset)) = (request, offset) {
            self.end = Some(offset + record_count(&request));
        }
    }
}

/// An answer with its offset moved.
pub(crate) fn moved(header: &RequestHeader, reply: Reply, by: i64) -> Reply {
    let Some(mut response) = response(header, &reply).filter(|_| by != 0) else {
        return reply;
    };
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        partition.base_offset += by;
    }
    encoded(header, &response).unwrap_or(reply)
}

fn response(header: &RequestHeader, reply: &Reply) -> Option<ProduceResponse> {
    let Reply::Answer(frame) = reply else {
        return None;
    };
    let bytes = frame.to_bytes().slice(LENGTH_PREFIX..);
    decode_response(header.api_version, &bytes).ok().map(|(_, response)| response)
}

/// The answer to an append at `offset`.
fn acknowledged(header: &RequestHeader, request: &ProduceRequest, offset: i64) -> Option<Reply> {
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

fn encoded(header: &RequestHeader, response: &ProduceResponse) -> Option<Reply> {
    encode_response(response, header.api_version, header.correlation_id).ok().map(Reply::Answer)
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
