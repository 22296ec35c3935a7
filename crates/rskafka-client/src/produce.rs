//! Appending: batches leave their partition's line one at a time, in the order of the calls.
//!
//! Invariant: a batch is sent again only if it surely was not written. Until appends carry sequence
//! numbers, one batch is under way at a time, so that none can overtake another.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{
    Attempt, Call, Error as ClusterError, LeaderHint, News, Prepared, Route, Target, Verdict, Via,
};
use rskafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use rskafka_protocol::records::{NewRecord, RecordBatch, RecordBatchBuilder};
use rskafka_protocol::{ApiKey, ErrorCode};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use crate::error::{Error, Outcome, Result};
use crate::outcome::{Ending, Judgement};
use crate::partition::{Inner, LAST_VERSION_BY_NAME};
use crate::record::{Payload, Record, RecordHeaders};
use crate::time::{from_millis_if_any, to_millis};
use crate::topics::invalid;

/// What a produce has appended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Produced {
    /// The offset of the first record; the others follow without gaps.
    pub base_offset: i64,
    /// How many records were appended.
    pub record_count: usize,
    /// When the broker appended them, if the topic uses `LogAppendTime`.
    pub log_append_time: Option<OffsetDateTime>,
    /// The batch's size in the log, in bytes.
    pub encoded_size: usize,
}

impl Produced {
    /// The records' offsets, in the order in which they were given.
    pub fn offsets(&self) -> Range<i64> {
        self.base_offset..self.base_offset.saturating_add(self.record_count as i64)
    }
}

/// A batch in line.
#[derive(Debug)]
pub(crate) struct Append {
    batch: RecordBatch,
    deadline: Deadline,
    result: oneshot::Sender<Result<Produced>>,
}

/// A produce under way: `.await` it for what was appended.
///
/// It has taken its place in line when it was made. Dropping it is safe: while the line is over
/// `buffer_memory` and it has no place yet, nothing is written; otherwise it is written once or not at all,
/// and nothing after it is hurt.
#[derive(Debug)]
#[must_use = "without awaiting it, it is not known whether the records were written"]
pub struct Produce {
    state: State,
}

#[derive(Debug)]
enum State {
    Refused(Option<Error>),
    InLine { id: u64, partition: Arc<Inner>, result: oneshot::Receiver<Result<Produced>> },
}

impl Produce {
    pub(crate) fn new<K: Payload, V: Payload, H: RecordHeaders>(
        partition: &Arc<Inner>,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Self {
        let state = match join_line(partition, records) {
            Ok((id, result)) => State::InLine { id, partition: partition.clone(), result },
            Err(error) => {
                let error = error.with_api(ApiKey::PRODUCE).with_place(&partition.topic, partition.index);
                State::Refused(Some(error))
            }
        };
        Self { state }
    }
}

impl Future for Produce {
    type Output = Result<Produced>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().state {
            State::Refused(error) => {
                Poll::Ready(Err(error.take().unwrap_or_else(|| Error::of_ending(Ending::WaitedInLine))))
            }
            State::InLine { result, partition, .. } => Pin::new(result).poll(cx).map(|received| {
                // The line's task is gone without an answer: its runtime was shut down.
                received.unwrap_or_else(|_| {
                    Err(Error::of_ending(Ending::RuntimeGone).with_place(&partition.topic, partition.index))
                })
            }),
        }
    }
}

impl Drop for Produce {
    fn drop(&mut self) {
        if let State::InLine { id, partition, .. } = &self.state {
            partition.line().leave(*id);
        }
    }
}

type Waiting = (u64, oneshot::Receiver<Result<Produced>>);

fn join_line<K: Payload, V: Payload, H: RecordHeaders>(
    partition: &Arc<Inner>,
    records: impl IntoIterator<Item = Record<K, V, H>>,
) -> Result<Waiting> {
    partition.client.check_open()?;
    let batch = encode(records)?;
    let now = partition.client.cluster().env().now();
    let deadline = Deadline::after(now, partition.client.limits().delivery_timeout);
    let (result, receiver) = oneshot::channel();
    let bytes = batch.size_in_bytes();
    let joined = partition.line().join(bytes, Append { batch, deadline, result });
    if joined.needs_server {
        let server = Server { partition: partition.clone(), is_done: false };
        partition.client.spawn(server.serve());
    }
    Ok((joined.id, receiver))
}

fn encode<K: Payload, V: Payload, H: RecordHeaders>(
    records: impl IntoIterator<Item = Record<K, V, H>>,
) -> Result<RecordBatch> {
    let mut builder = RecordBatchBuilder::new();
    for record in records {
        let Record { key, value, headers, timestamp } = &record;
        let new = NewRecord::new(to_millis(*timestamp), key.payload(), value.payload());
        builder
            .push(new.headers(headers.pairs()))
            .map_err(|full| invalid("the records do not fit into one batch").with_source(full))?;
    }
    if builder.is_empty() {
        return Err(invalid("no records to produce"));
    }
    builder.build().map_err(|error| invalid("the records make no batch").with_source(error))
}

/// Whoever serves the line. If it goes before the line is empty, because its runtime ends or it panics,
/// nobody in line is left waiting.
struct Server {
    partition: Arc<Inner>,
    is_done: bool,
}

impl Server {
    /// Serves the line until it is empty.
    async fn serve(mut self) {
        loop {
            let next = self.partition.line().next();
            let Some((bytes, append)) = next else {
                self.is_done = true;
                return;
            };
            let result = send(&self.partition, &append).await;
            self.partition.line().done(bytes);
            // A caller that is gone does not want to know.
            let _ = append.result.send(result);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let left = self.partition.line().abandon();
        for append in left {
            let error = Error::of_ending(Ending::ClientClosed)
                .with_place(&self.partition.topic, self.partition.index);
            let _ = append.result.send(Err(error));
        }
    }
}

async fn send(partition: &Inner, append: &Append) -> Result<Produced> {
    let Append { batch, deadline, .. } = append;
    let call = Call { target: partition.target(), via: partition.produce_via(), deadline: *deadline };
    let build = |route: &Route| request(partition, route, batch.bytes(), *deadline);
    let decide = |attempt: Attempt<'_, ProduceResponse>| decide(partition.index, attempt);
    match partition.client.cluster().send(call, build, decide).await {
        Ok(answer) => {
            let (appended, _) = find(&answer.reply.response, partition.index)
                .ok_or_else(|| Error::of_ending(Ending::InvalidAnswer))?;
            Ok(Produced {
                base_offset: appended.base_offset,
                record_count: batch.record_count(),
                log_append_time: from_millis_if_any(appended.log_append_time_ms),
                encoded_size: batch.size_in_bytes(),
            })
        }
        Err(error) => Err(failed(error)),
    }
}

fn request(partition: &Inner, route: &Route, batch: &Bytes, deadline: Deadline) -> Prepared<ProduceRequest> {
    let cluster = partition.client.cluster();
    let left = deadline.remaining(cluster.env().now());
    let timeout = left.min(cluster.config().connection.request_timeout);
    let data = PartitionProduceData { index: partition.index, records: Some(batch.clone()) };
    let topic_id = route.leader.as_ref().map(|leader| leader.topic_id).unwrap_or_default();
    let topic = TopicProduceData { name: partition.topic.clone(), topic_id, partition_data: vec![data] };
    let request = ProduceRequest {
        transactional_id: None,
        acks: partition.acks.code(),
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: vec![topic],
    };
    let max_version = topic_id.is_zero().then_some(LAST_VERSION_BY_NAME);
    Prepared { max_version, ..Prepared::new(request) }
}

/// Whether a batch may be sent again: only if it surely is not in the log.
fn decide(index: i32, attempt: Attempt<'_, ProduceResponse>) -> Verdict {
    let response = match attempt.outcome {
        Ok(response) => response,
        Err(failure) if Judgement::of_failure(failure).outcome == Outcome::NotWritten => {
            return Verdict::of_failure(failure);
        }
        Err(_) => return Verdict::Fail(News::of_failure()),
    };
    let Some((partition, leader)) = find(response, index) else {
        return Verdict::Fail(News::of_failure());
    };
    let code = partition.error_code;
    let news = News::of_code(code, partition.error_message.as_deref(), leader);
    match code {
        // Without an offset the batch was written, but nobody can say where.
        ErrorCode::NONE if partition.base_offset < 0 => Verdict::Fail(News::default()),
        ErrorCode::NONE => Verdict::Done,
        _ => match Judgement::of_code(code) {
            Judgement { outcome: Outcome::NotWritten, is_retriable: true } => Verdict::Retry(news),
            _ => Verdict::Fail(news),
        },
    }
}

/// The answer for our partition, and the leader that it names. There is one topic in it: ours.
fn find(response: &ProduceResponse, index: i32) -> Option<(&PartitionProduceResponse, Option<LeaderHint>)> {
    let [topic] = response.responses.as_slice() else {
        return None;
    };
    let partition = topic.partition_responses.iter().find(|partition| partition.index == index)?;
    let leader = &partition.current_leader;
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.as_str(), node.port));
    let hint = LeaderHint::of_answer(leader.leader_id, leader.leader_epoch, nodes);
    Some((partition, hint))
}

fn failed(error: ClusterError) -> Error {
    // With `gave_up`, the last verdict was that the batch surely is not in the log.
    let judgement = Judgement::of_failure(&error.failure);
    let outcome = if error.gave_up { Outcome::NotWritten } else { judgement.outcome };
    Error::of_cluster(error, outcome)
}

impl<'a> Inner {
    fn produce_via(&'a self) -> Via<'a> {
        if self.client.limits().shares_produce_connections {
            Via::SharedProduce
        } else {
            Via::Own(&self.produce_lane)
        }
    }

    /// The broker that leads the partition.
    pub(crate) fn target(&'a self) -> Target<'a> {
        Target::Leader { topic: &self.topic, partition: self.index, topic_id: self.topic_id }
    }
}
