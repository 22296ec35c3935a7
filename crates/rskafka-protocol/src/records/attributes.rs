//! The attribute bits of a batch.
//!
//! Invariant: unknown bits are kept.

use super::Compression;

const CODEC: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// Where the timestamps of a batch's records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// From the producer.
    #[default]
    CreateTime,
    /// From the broker, when it appended the batch: one time for all records.
    LogAppendTime,
}

/// The attributes of a batch, bit by bit as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[must_use]
pub struct Attributes(pub i16);

impl Attributes {
    /// How the records are compressed; the codec's number if Kafka has no such codec.
    pub fn compression(self) -> Result<Compression, u8> {
        let codec = u8::try_from(self.0 & CODEC).unwrap_or(u8::MAX);
        Compression::from_codec(codec)
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        match self.has(LOG_APPEND_TIME) {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether the batch holds control records, which are not for users.
    pub fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// Whether the base timestamp is the time from which tombstones may be removed (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// The same with another codec.
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !CODEC | compression.codec())
    }

    /// The same with another timestamp type.
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// The same, part of a transaction or not.
    pub fn with_transactional(self, transactional: bool) -> Self {
        self.with(TRANSACTIONAL, transactional)
    }

    /// The same, of control records or not.
    pub fn with_control(self, control: bool) -> Self {
        self.with(CONTROL, control)
    }

    /// The same, with the base timestamp being a delete horizon or not.
    pub fn with_delete_horizon(self, delete_horizon: bool) -> Self {
        self.with(DELETE_HORIZON, delete_horizon)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}
