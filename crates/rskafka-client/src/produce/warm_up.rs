//! Connects to the leader and obtains a producer id, also before there is an append.

use std::sync::Arc;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Call, Failed, Failure, Leader, Learned, NotDone, Via};
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
    let lacks_producer = line.lock().sequencer.lacks_producer();
    if lacks_producer {
        let producer = obtain_producer_id(line, deadline).await.map_err(Error::of_read)?;
        line.drive(|state| state.sequencer.offer(producer));
    }
    if !lacks_producer || !matches!(line.via_for_producer_ids(), Via::Own(_)) {
        // Any request would do: it is for the connection, which the lane keeps.
        let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        ask(line, line.via(), deadline, &request, |_| Ok(())).await.map_err(Error::of_read)?;
    }
    Ok(())
}

pub(crate) async fn obtain_producer_id(line: &Line, deadline: Deadline) -> Result<Producer, Failed> {
    let (transactional_id, transaction_timeout_ms) = (None, i32::MAX);
    let request = InitProducerIdRequest { transactional_id, transaction_timeout_ms, ..Default::default() };
    let judge = |answer: InitProducerIdResponse| {
        let producer = Producer { id: answer.producer_id, epoch: answer.producer_epoch };
        let is_one = producer.id >= 0 && producer.epoch >= 0;
        let producer = is_one.then_some(producer).ok_or(Failure::MissingInAnswer);
        Learned::judged(answer.error_code, None, None, producer)?.map_err(Learned::of_attempt)
    };
    ask(line, line.via_for_producer_ids(), deadline, &request, judge).await
}

async fn ask<R: Request, T>(
    line: &Line,
    via: Via<'_>,
    deadline: Deadline,
    request: &R,
    judge: impl Fn(R::Response) -> Result<T, NotDone>,
) -> Result<T, Failed> {
    let call = Call { target: line.partition.target(), via, deadline };
    let build = |_: &_, _: &_| (request.clone(), CallOptions::new(deadline));
    let judge = |answer: Answer<'_, R::Response, Leader>| judge(answer.response);
    line.partition.core.cluster.send(call, build, judge).await
}
