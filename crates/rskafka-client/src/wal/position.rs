//! Where a reader of an exclusive log is, and what the rule needs to go on there.
//!
//! Invariant: both forms stay readable by later versions.

use std::str::FromStr;

use derive_more::Display;

use super::fence::{Fence, Reading};
use crate::consumer::{self, ParsePositionError};
use crate::error::Result;
use crate::partition::Partition;

/// Where to go on in an exclusive log: what a database stores beside its snapshot, which has everything before it.
///
/// It has a text form, that of [`consumer::Position`] with four more parts between colons (term, writer, next sequence, and a
/// checksum), and one of [`BYTES`](Self::BYTES) bytes. Both stay readable by later versions of this crate.
///
/// Store a position only over a lower one ([`is_before`](Self::is_before)): see [`Writer::trim`](super::Writer::trim).
///
/// ```
/// # use rskafka_client::wal::Position;
/// let position: Position = "xtzWWN4bTjitpL3kfd9s5g:3:1200:7:4:81985529216486895:17:109eec44".parse()?;
/// assert_eq!((position.offset(), position.term()), (1200, 4));
/// assert_eq!(Position::from_bytes(&position.to_bytes())?, position);
/// # Ok::<(), rskafka_client::consumer::ParsePositionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
#[display("{log}:{}:{}:{}:{:08x}", fence.term, fence.writer, fence.next_sequence, self.crc())]
pub struct Position {
    pub(super) log: consumer::Position,
    pub(super) fence: Fence,
}

impl Position {
    /// The length of the form in bytes.
    pub const BYTES: usize = consumer::Position::BYTES + 24 + 4;
    /// The start of a log of which nothing was trimmed: offset 0, before the first claim. Valid in any partition.
    pub const START: Self = Self::genesis(0);

    /// The start of an exclusive log in a partition that had another use before: at this offset, before the first claim. Valid
    /// in any partition.
    pub const fn genesis(offset: i64) -> Self {
        let fence = Fence { term: 0, writer: 0, next_sequence: 0 };
        Self { log: consumer::Position::of_any(offset), fence }
    }

    pub(super) fn new(log: consumer::Position, Reading { fence, next_offset }: Reading) -> Self {
        Self { log: consumer::Position { offset: next_offset, ..log }, fence }
    }

    /// The same in this partition.
    pub(super) fn within(self, partition: &Partition) -> Result<Self> {
        if self.log == consumer::Position::of_any(self.log.offset) {
            return Ok(Self { log: consumer::Position::of(partition, self.log.offset), ..self });
        }
        self.log.check(partition)?;
        Ok(self)
    }

    pub(super) fn reading(&self) -> Reading {
        Reading { fence: self.fence, next_offset: self.log.offset }
    }

    /// The offset to read next.
    pub fn offset(&self) -> i64 {
        self.log.offset
    }

    /// The term in force there; 0 before the first claim.
    pub fn term(&self) -> u64 {
        self.fence.term
    }

    /// The position in the partition, without the rule's state.
    pub fn log(&self) -> consumer::Position {
        self.log
    }

    /// Whether this position is before the other one of the same log: whether a store that has this one may take the other.
    pub fn is_before(&self, other: &Self) -> bool {
        self.log.offset < other.log.offset
    }

    /// The form in bytes: that of [`log`](Self::log), then term, writer and next sequence, then a CRC-32C of all; integers are
    /// big-endian.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (log, rest) = bytes.split_at_mut(consumer::Position::BYTES);
        log.copy_from_slice(&self.log.to_bytes());
        let Fence { term, writer, next_sequence } = self.fence;
        for (field, value) in rest.chunks_exact_mut(8).zip([term, writer, next_sequence]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..Self::BYTES - 4]);
        bytes[Self::BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc(&self) -> u32 {
        crc32c::crc32c(&self.to_bytes()[..Self::BYTES - 4])
    }

    fn checked(self) -> Result<Self, ParsePositionError> {
        let Fence { term, writer, next_sequence } = self.fence;
        let is_possible = if term == 0 { (writer, next_sequence) == (0, 0) } else { next_sequence > 0 };
        is_possible.then_some(self).ok_or(ParsePositionError("no claim leads to its term and sequence"))
    }

    /// Reads the form in bytes.
    ///
    /// # Errors
    ///
    /// The bytes have another length or version, or are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParsePositionError> {
        let bytes: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| ParsePositionError("it is not 65 bytes long"))?;
        let (content, crc) = bytes.split_at(Self::BYTES - 4);
        if crc32c::crc32c(content).to_be_bytes() != crc {
            return Err(ParsePositionError("its checksum is wrong"));
        }
        let (log, rest) = content.split_at(consumer::Position::BYTES);
        let field = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| rest[8 * at + byte]));
        let fence = Fence { term: field(0), writer: field(1), next_sequence: field(2) };
        Self { log: consumer::Position::from_bytes(log)?, fence }.checked()
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let parts: Vec<&str> = text.rsplitn(5, ':').collect();
        let [crc, next_sequence, writer, term, log] = parts[..] else {
            return Err(ParsePositionError("it does not have eight parts between colons"));
        };
        let number = |part: &str| {
            part.parse().map_err(|_| ParsePositionError("term, writer or sequence is not a number"))
        };
        let [term, writer, next_sequence] = [number(term)?, number(writer)?, number(next_sequence)?];
        let position = Self { log: log.parse()?, fence: Fence { term, writer, next_sequence } };
        if u32::from_str_radix(crc, 16) != Ok(position.crc()) {
            return Err(ParsePositionError("its checksum is wrong"));
        }
        position.checked()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        let fence = (1..=u64::MAX, any::<u64>(), 1..=u64::MAX);
        let epoch = prop::option::of(0..=i32::MAX);
        (any::<[u8; 16]>(), 0..=i32::MAX, 0..=i64::MAX, epoch, fence).prop_map(
            |(id, partition, offset, leader_epoch, (term, writer, next_sequence))| Position {
                log: consumer::Position {
                    topic_id: rskafka_protocol::Uuid(id),
                    partition,
                    offset,
                    leader_epoch,
                },
                fence: Fence { term, writer, next_sequence },
            },
        )
    }

    #[test]
    fn both_forms_stay_as_they_are() {
        let log = "BwcHBwcHBwcHBwcHBwcHBw:3:1200:5".parse().unwrap();
        let position =
            Position { log, fence: Fence { term: 4, writer: 0x0123_4567_89ab_cdef, next_sequence: 17 } };
        assert_eq!(position.to_string(), "BwcHBwcHBwcHBwcHBwcHBw:3:1200:5:4:81985529216486895:17:fb945b77");
        let fields = [4_u64, 0x0123_4567_89ab_cdef, 17].map(u64::to_be_bytes).concat();
        let bytes = position.to_bytes();
        assert_eq!((&bytes[..37], &bytes[37..61]), (&log.to_bytes()[..], &fields[..]));
        assert_eq!(Position::START.to_string(), "AAAAAAAAAAAAAAAAAAAAAA:-1:0:-1:0:0:0:ded8e920");
        assert_eq!(Position::START.to_string().parse(), Ok(Position::START));
        assert_eq!(Position::from_bytes(&Position::START.to_bytes()), Ok(Position::START));
    }

    #[test]
    fn a_state_that_no_claim_leads_to_is_refused() {
        for fence in [(0, 0, 1), (0, 1, 0), (1, 1, 0)] {
            let (term, writer, next_sequence) = fence;
            let position = Position { fence: Fence { term, writer, next_sequence }, ..Position::START };
            assert!(Position::from_bytes(&position.to_bytes()).is_err(), "{fence:?}");
            assert!(position.to_string().parse::<Position>().is_err(), "{fence:?}");
        }
    }

    proptest! {
        #[test]
        fn a_stored_position_comes_back(position in position()) {
            prop_assert_eq!(Position::from_bytes(&position.to_bytes()), Ok(position));
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn a_torn_or_damaged_position_is_refused(position in position(), at in 0..Position::BYTES, bit in 0..8u8) {
            let mut bytes = position.to_bytes();
            bytes[at] ^= 1 << bit;
            prop_assert!(Position::from_bytes(&bytes).is_err());
            prop_assert!(Position::from_bytes(&bytes[..at]).is_err());
            let text = position.to_string();
            prop_assert!(text[..at.min(text.len() - 1)].parse::<Position>().is_err());
        }

        #[test]
        fn no_text_panics(text in ".{0,90}") {
            let _ = text.parse::<Position>();
        }
    }
}
