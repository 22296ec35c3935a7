//! Records become one batch.

use rskafka_protocol::records::{Attributes, BatchHeader, NewRecord, RecordBatch, RecordBatchBuilder};

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
    build(builder)
}

/// Ends a batch that the caller filled, or says why it cannot be appended.
pub(crate) fn build(builder: RecordBatchBuilder) -> Result<RecordBatch> {
    if builder.is_empty() {
        return Err(Error::invalid("no records to produce"));
    }
    let mut batch = builder
        .build()
        .map_err(|error| Error::invalid("the records cannot be encoded as one batch").with_source(error))?;
    let header = *batch.header();
    let compression = header.attributes.compression().unwrap_or_default();
    if header.attributes != Attributes::default().with_compression(compression) {
        return Err(Error::invalid("the batch has attributes that only brokers and transactions set"));
    }
    if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
        return Err(Error::invalid("the batch leaves offsets without a record"));
    }
    let BatchHeader { attributes, last_offset_delta, base_timestamp, max_timestamp, record_count, .. } =
        header;
    let of_records = BatchHeader {
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        record_count,
        ..BatchHeader::default()
    };
    if header != of_records {
        batch.update_header(|header| *header = of_records);
    }
    Ok(batch)
}
