//! Builder against reader, and the reader against damage.

use super::*;

#[test]
fn a_built_batch_is_read_back() {
    let mut builder = RecordBatchBuilder::new();
    let record = NewRecord::new(7, Some(b"key"), None).headers([(b"name".as_slice(), None)]);
    assert_eq!(builder.size_with(&record), 61 + 16);
    builder.push(record).unwrap();
    let mut batch = builder.build().unwrap();
    batch.set_producer(1, 2, 3);
    let batch = batches(batch.bytes()).next().unwrap().unwrap();
    assert_eq!((batch.size_in_bytes(), batch.next_offset(), batch.last_sequence()), (61 + 16, 1, 3));
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!((record.timestamp, record.key, record.value), (7, Some(b"key".as_slice()), None));
    assert_eq!(record.headers.collect::<Vec<_>>(), [(b"name".as_slice(), None)]);
}
