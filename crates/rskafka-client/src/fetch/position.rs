//! Where a reader is in a log, in a form that can be stored.
//!
//! Invariant: its leader epoch is that of the last batch that was read, with or without records. By it a broker can tell
//! whether its log still has what was read (KIP-320).

use std::str::FromStr;

use derive_more::Display;
use rskafka_protocol::Uuid;

use crate::error::{Case, Error, ErrorKind, Result};
use crate::partition::Partition;

/// Where a reader is in the log of one partition: a stored one, given back as a start, continues there also after a restart,
/// and shows whether the log was truncated below it meanwhile.
///
/// It has a text form, `topic id:partition:offset:leader epoch`, and one of [`BYTES`](Self::BYTES) bytes with a checksum. Both
/// stay readable by later versions of this crate.
///
/// ```
/// # use rskafka_client::consumer::Position;
/// let position: Position = "xtzWWN4bTjitpL3kfd9s5g:3:1200:7".parse()?;
/// assert_eq!((position.partition(), position.offset(), position.leader_epoch()), (3, 1200, Some(7)));
/// assert_eq!(Position::from_bytes(&position.to_bytes())?, position);
/// # Ok::<(), rskafka_client::consumer::ParsePositionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
#[display("{topic_id}:{partition}:{offset}:{}", leader_epoch.unwrap_or(-1))]
pub struct Position {
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
}

impl Position {
    /// The length of the form in bytes.
    pub const BYTES: usize = 37;
    /// The first byte of the form in bytes: its version.
    const VERSION: u8 = 1;

    /// The begin of a reader at an offset.
    pub(crate) fn of(partition: &Partition, offset: i64) -> Self {
        Self { topic_id: partition.topic_id, partition: partition.index, offset, leader_epoch: None }
    }

    /// An offset of a log that is not said yet.
    pub(crate) const fn of_any(offset: i64) -> Self {
        Self { topic_id: Uuid::ZERO, partition: -1, offset, leader_epoch: None }
    }

    /// Refuses the position of another log.
    pub(crate) fn check(&self, partition: &Partition) -> Result<()> {
        let ids = [self.topic_id, partition.topic_id];
        let is_same = ids[0] == ids[1] || ids.iter().any(Uuid::is_zero);
        let is_here = is_same && self.partition == partition.index;
        is_here.then_some(()).ok_or_else(|| Error::new(Case::OtherTopic, ErrorKind::OtherTopic))
    }

    /// The topic's id; zero where brokers have no topic ids (before Kafka 2.8).
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// The partition's index.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset to read next.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The leader epoch of the last batch read; `None` before the first, for batches from before Kafka 0.11, and at the end of a
    /// read that ends in a gap of a compacted log between batches of two epochs.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// The form in bytes: a version, topic id, partition, offset, leader epoch, CRC-32C; integers are big-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [Self::VERSION; Self::BYTES];
        bytes[1..17].copy_from_slice(&self.topic_id.0);
        bytes[17..21].copy_from_slice(&self.partition.to_be_bytes());
        bytes[21..29].copy_from_slice(&self.offset.to_be_bytes());
        bytes[29..33].copy_from_slice(&self.leader_epoch.unwrap_or(-1).to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..33]);
        bytes[33..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the form in bytes.
    ///
    /// # Errors
    ///
    /// The bytes have another length or version, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParsePositionError> {
        let bytes: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| ParsePositionError("it is not 37 bytes long"))?;
        if bytes[0] != Self::VERSION {
            return Err(ParsePositionError("its version is unknown"));
        }
        let position = Self {
            topic_id: Uuid(field(bytes, 1)),
            partition: i32::from_be_bytes(field(bytes, 17)),
            offset: i64::from_be_bytes(field(bytes, 21)),
            leader_epoch: Some(i32::from_be_bytes(field(bytes, 29))).filter(|epoch| *epoch >= 0),
        };
        let is_damaged = crc32c::crc32c(&bytes[..33]) != u32::from_be_bytes(field(bytes, 33));
        if is_damaged { Err(ParsePositionError("its checksum is wrong")) } else { position.checked() }
    }

    fn checked(self) -> Result<Self, ParsePositionError> {
        let is_possible = (self.partition >= 0 || self == Self::of_any(self.offset)) && self.offset >= 0;
        is_possible.then_some(self).ok_or(ParsePositionError("partition or offset is negative"))
    }
}

fn field<const N: usize>(bytes: &[u8; Position::BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let parts: Vec<&str> = text.split(':').collect();
        let [topic_id, partition, offset, leader_epoch] = parts[..] else {
            return Err(ParsePositionError("it does not have four parts between colons"));
        };
        let not_a_number = |_| ParsePositionError("partition, offset or epoch is not a number");
        let leader_epoch: i32 = leader_epoch.parse().map_err(not_a_number)?;
        let position = Self {
            topic_id: topic_id.parse().map_err(|_| ParsePositionError("its topic id is invalid"))?,
            partition: partition.parse().map_err(not_a_number)?,
            offset: offset.parse().map_err(not_a_number)?,
            leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0),
        };
        position.checked()
    }
}

/// Why a text or bytes are not a [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, Display)]
#[display("invalid position: {_0}")]
pub struct ParsePositionError(pub(crate) &'static str);

impl std::error::Error for ParsePositionError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        let epoch = prop::option::of(0..=i32::MAX);
        (any::<[u8; 16]>(), 0..=i32::MAX, 0..=i64::MAX, epoch).prop_map(
            |(id, partition, offset, leader_epoch)| Position {
                topic_id: Uuid(id),
                partition,
                offset,
                leader_epoch,
            },
        )
    }

    #[test]
    fn both_forms_stay_as_they_are() {
        let position =
            Position { topic_id: Uuid([7; 16]), partition: 3, offset: 1200, leader_epoch: Some(5) };
        assert_eq!(position.to_string(), "BwcHBwcHBwcHBwcHBwcHBw:3:1200:5");
        let mut bytes =
            [[1].as_slice(), &[7; 16], &[0, 0, 0, 3], &[0, 0, 0, 0, 0, 0, 4, 176], &[0, 0, 0, 5]].concat();
        bytes.extend([0x5c, 0x5c, 0x5c, 0x5c]);
        assert_eq!(position.to_bytes()[..33], bytes[..33]);
        let unknown = Position { topic_id: Uuid::ZERO, leader_epoch: None, ..position };
        assert_eq!(unknown.to_string(), "AAAAAAAAAAAAAAAAAAAAAA:3:1200:-1");
    }

    proptest! {
        #[test]
        fn a_stored_position_comes_back(position in position()) {
            prop_assert_eq!(Position::from_bytes(&position.to_bytes()), Ok(position));
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn a_damaged_position_is_refused(position in position(), at in 0..Position::BYTES, bit in 0..8u8) {
            let mut bytes = position.to_bytes();
            bytes[at] ^= 1 << bit;
            prop_assert!(Position::from_bytes(&bytes).is_err());
            prop_assert!(Position::from_bytes(&bytes[..at]).is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Position>();
        }
    }
}
