//! What became of an append whose outcome is unknown, as the log shows it.
//!
//! Invariant: `NotWritten` is said only if a later epoch of the producer is in the log, which no batch of the earlier one can
//! follow.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use rskafka_protocol::ApiKey;
use rskafka_protocol::records::Flag;

use super::{OutOfRange, ReadBuilder, StartAt};
use crate::error::{Error, ErrorKind, InDoubt, Outcome, Result};
use crate::offsets::{self, OffsetAt};
use crate::partition::Partition;
use crate::produce::Produced;
use crate::time::from_millis;

/// What became of an append: see [`PartitionClient::resolve`](crate::PartitionClient::resolve).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// It is in the log.
    Written(Produced),
    /// It is not in the log, and never will be.
    NotWritten,
    /// It is not in the log now, and may still be written; or what it would be in was deleted.
    Open,
}

pub(crate) async fn resolve(partition: &Arc<Partition>, error: &Error) -> Result<Resolution> {
    if error.outcome() == Outcome::NotWritten {
        return Ok(Resolution::NotWritten);
    }
    let is_here = (error.topic(), error.partition()) == (Some(&*partition.topic), Some(partition.index));
    let Some(doubt) = error.in_doubt().filter(|_| is_here) else {
        return Err(Error::invalid("the error is not of an idempotent append to this partition"));
    };
    let end = offsets::find(partition, OffsetAt::Latest).await;
    let end = end.map_err(|error| partition.located(error, ApiKey::LIST_OFFSETS))?.offset;
    let start = StartAt::Offset(doubt.after.min(end));
    let stream = ReadBuilder::with(partition.clone(), start).until(end);
    let mut batches = stream.on_out_of_range(OutOfRange::Continue).build_batches();
    let mut is_whole = true;
    while let Some(batch) = poll_fn(|cx| Pin::new(&mut batches).poll_next(cx)).await {
        let batch = match batch {
            Ok(batch) => batch,
            // It may have been in what was deleted.
            Err(error) if matches!(error.kind(), ErrorKind::OffsetOutOfRange { .. }) => {
                is_whole = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        let header = batch.header();
        let found = InDoubt {
            after: doubt.after,
            compares_epochs: doubt.compares_epochs,
            is_written: doubt.is_written,
            ..InDoubt::of(header)
        };
        if found == doubt {
            let is_of_broker = header.attributes.has(Flag::LogAppendTime);
            return Ok(Resolution::Written(Produced {
                base_offset: header.base_offset,
                record_count: doubt.record_count as usize,
                log_append_time: is_of_broker.then(|| from_millis(header.max_timestamp)),
                encoded_size: batch.encoded_size(),
            }));
        }
        let is_later = found.producer_id == doubt.producer_id && found.producer_epoch > doubt.producer_epoch;
        if is_later && doubt.compares_epochs && is_whole {
            return Ok(Resolution::NotWritten);
        }
    }
    Ok(Resolution::Open)
}
