//! Records become one batch.

use rskafka_protocol::records::{NewRecord, RecordBatch, RecordBatchBuilder};

use crate::error::{Error, Result};
use crate::record::{Payload, Record, RecordHeaders};
use crate::time::to_millis;

pub(crate) fn encode<K: Payload, V: Payload, H: RecordHeaders>(
    records: impl IntoIterator<Item = Record<K, V, H>>,
) -> Result<RecordBatch> {
    let mut builder = RecordBatchBuilder::new();
    for record in records {
        let Record { key, value, headers, timestamp } = &record;
        let new = NewRecord::new(to_millis(*timestamp), key.payload(), value.payload());
        builder
            .push(new.headers(headers.pairs()))
            .map_err(|full| Error::invalid("the records do not fit into one batch").with_source(full))?;
    }
    if builder.is_empty() {
        return Err(Error::invalid("no records to produce"));
    }
    builder
        .build()
        .map_err(|error| Error::invalid("the records cannot be encoded as one batch").with_source(error))
}
