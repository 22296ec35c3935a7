//! Records become one batch.

use rskafka_protocol::records::{NewRecord, RecordBatch, RecordBatchBuilder};

use crate::error::{Error, Result};
use crate::record::{Payload, Record, RecordHeaders};
use crate::time::to_millis;

/// How much memory is taken before the records are there to fill it.
const MAX_EXPECTED: usize = 1 << 20;

pub(crate) fn encode<K: Payload, V: Payload, H: RecordHeaders>(
    records: impl IntoIterator<Item = Record<K, V, H>>,
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
            builder = RecordBatchBuilder::with_capacity(expected.min(MAX_EXPECTED));
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
