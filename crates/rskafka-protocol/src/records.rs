//! Record batches: what the `records` field of Produce and Fetch holds.
//!
//! Invariant: except for compression, a record is copied once when it is written and never when it is read. Any bytes
//! give records, a leftover or a typed error.
//!
//! A batch is 61 bytes of [`BatchHeader`], then records whose offsets and timestamps are relative to it.
//! [`RecordBatchBuilder`] writes one; [`batches`] reads a set of them, and message sets of older formats.

mod attributes;
mod batch;
mod builder;
mod codec;
mod compression;
mod crc;
mod decompressor;
mod encoded;
mod error;
mod header;
mod legacy;
mod new_record;
mod reader;
mod record;

pub use attributes::{Attributes, Flag};
pub use batch::Batch;
pub use builder::{BatchFull, BuildError, RecordBatchBuilder};
pub use compression::Compression;
pub use decompressor::Decompressor;
pub use encoded::RecordBatch;
pub use error::{BatchError, BatchErrorKind, Corruption, Unsupported};
pub use header::BatchHeader;
pub use new_record::NewRecord;
pub use reader::{Batches, batches};
pub use record::{HeadersView, RecordCursor, RecordView, Records};

#[cfg(test)]
mod tests;
