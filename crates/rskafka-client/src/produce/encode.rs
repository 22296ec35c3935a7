//! Records become one batch.

use rskafka_protocol::records::{NewRecord, RecordBatch, RecordBatchBuilder};

use crate::error::{Error, Result};
use crate::record::{Payload, Record, RecordHeaders};
use crate::spare::{self, Spare};
use crate::time::to_millis;

pub(crate) fn encode<K: Payload, V: Payload, H: RecordHeaders>(
    records: impl IntoIterator<Item = Record<K, V, H>>,
    spare: &Spare,
) -> Result<RecordBatch> {
    let records = records.into_iter();
    let count = records.size_hint().0;
    let mut builder = RecordBatchBuilder::new();
    for record in records {
        let Record { key, value, headers, timestamp } = &record;
        let new = NewRecord::new(to_millis(*timestamp), key.payload(), value.payload());
        let new = new.headers(headers.pairs());
        if builder.is_empty() {
            // As if all were as large as the first: a batch that has to grow is copied each time.
            let expected = builder.size_with(&new).saturating_mul(count);
            builder = RecordBatchBuilder::with_buffer(spare.take(expected.min(spare::LARGEST)));
        }
        builder
            .push(new)
            .map_err(|full| Error::invalid("the records do not fit into one batch").with_source(full))?;
    }
    if builder.is_empty() {
        return Err(Error::invalid("no records to produce"));
    }
    builder
        .build()
        .map_err(|error| Error::invalid("the records cannot be encoded as one batch").with_source(error))
}
