//! The two ways to append: by a partition client, or by a producer of batches.

use std::ops::Range;
use std::pin::Pin;

use rskafka::client::PartitionClient;
use rskafka::client::error::Error;
use rskafka::client::producer::{BatchProducer, RecordAggregator};
use rskafka::record::Record;

pub(super) type Batches = BatchProducer<RecordAggregator>;

/// Gives the offsets of a call's records.
pub(super) type Appending = Pin<Box<dyn Future<Output = Result<Range<i64>, Error>> + Send>>;

/// Takes a place in line at once. With a producer of batches, only the last record is appended.
pub(super) fn append(
    log: &PartitionClient,
    batches: Option<&Batches>,
    mut records: Vec<Record>,
) -> Appending {
    if let Some((batches, record)) = batches.zip(records.pop_if(|_| batches.is_some())) {
        let batched = batches.produce(record);
        return Box::pin(async { batched.await.map(|offset| offset..offset + 1) });
    }
    let produce = log.produce(records);
    Box::pin(async { produce.await.map(|produced| produced.offsets()) })
}
