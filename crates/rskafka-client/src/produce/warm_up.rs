//! Connects to the leader and obtains a producer id before there is an append.

use std::sync::Arc;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Call, Leader, Verdict, Via};
use rskafka_protocol::Request;
use rskafka_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use rskafka_protocol::messages::metadata::MetadataRequest;

use super::line::Line;
use super::sequencer::{Closed, Producer};
use crate::error::{Error, Result};

pub(crate) async fn warm_up(line: &Arc<Line>) -> Result<()> {
    let closed = line.lock().sequencer.closed();
    if let Some(closed @ Closed::Truncated { .. }) = closed {
        return Err(line.refused(closed));
    }
    let deadline = line.partition.core.api_deadline();
    let via = line.via_for_producer_ids();
    let lacks_producer = line.lock().sequencer.lacks_producer();
    if lacks_producer {
        let judge = |answer: InitProducerIdResponse| match (answer.error_code.ok(), producer_of(&answer)) {
            (Err(code), _) => Verdict::refused(code, None, None),
            (Ok(()), Some(producer)) => Verdict::Done(producer),
            (Ok(()), None) => Verdict::missing(),
        };
        let producer = ask(line, via, deadline, &REQUEST, judge).await?;
        line.drive(|state| state.sequencer.offer(producer));
    }
    if !lacks_producer || !matches!(via, Via::Own(_)) {
        // Any request would do: it is for the connection, which the lane keeps.
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        ask(line, line.via(), deadline, &request, |_| Verdict::Done(())).await?;
    }
    Ok(())
}

async fn ask<R: Request, T>(
    line: &Line,
    via: Via<'_>,
    deadline: Deadline,
    request: &R,
    judge: impl Fn(R::Response) -> Verdict<T>,
) -> Result<T> {
    let call = Call { target: line.partition.target(), via, deadline };
    let build = |_: &_, _: &_| (request.clone(), CallOptions::new(deadline));
    let judge = |answer: Answer<'_, R::Response, Leader>| judge(answer.response);
    line.partition.core.cluster.send(call, build, judge).await.map_err(Error::of_read)
}

/// Asks for a producer id.
pub(crate) const REQUEST: InitProducerIdRequest = InitProducerIdRequest {
    transactional_id: None,
    transaction_timeout_ms: i32::MAX,
    producer_id: -1,
    producer_epoch: -1,
};

pub(crate) fn producer_of(answer: &InitProducerIdResponse) -> Option<Producer> {
    let producer = Producer { id: answer.producer_id, epoch: answer.producer_epoch };
    (producer.id >= 0 && producer.epoch >= 0).then_some(producer)
}
