//! The rule that says which batches of a log count. No I/O, no clock.
//!
//! Invariant: what counts depends on the batches alone, in their order in the log. So all readers agree, at any time.

use derive_more::Display;

/// The key of the header that the first record of each batch carries.
pub(crate) const HEADER: &[u8] = b"rskafka.wal";

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An append.
    Entry = 0,
    /// The start of a term.
    Claim = 1,
    /// An append with no record of the user's.
    Barrier = 2,
}

/// Who wrote a batch, and which one it is: the value of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stamp {
    /// What it is.
    pub kind: Kind,
    /// Its writer's term.
    pub term: u64,
    /// Drawn at random for each claim.
    pub writer: u64,
    /// Of the batch in its term: the claim has 0.
    pub sequence: u64,
}

impl Stamp {
    pub(crate) const BYTES: usize = 26;
    const FORMAT: u8 = 1;

    /// Format, kind, term, writer, sequence; big-endian.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [Self::FORMAT; Self::BYTES];
        bytes[1] = self.kind as u8;
        for (field, value) in [self.term, self.writer, self.sequence].into_iter().enumerate() {
            bytes[2 + 8 * field..10 + 8 * field].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; Self::BYTES] = match bytes.first() {
            Some(&Self::FORMAT) => bytes.try_into().map_err(|_| Damage::Header)?,
            Some(_) => return Err(Damage::Format),
            None => return Err(Damage::Header),
        };
        let kinds = [Kind::Entry, Kind::Claim, Kind::Barrier];
        let kind = *kinds.get(usize::from(bytes[1])).ok_or(Damage::Format)?;
        let field = |field: usize| u64::from_be_bytes(std::array::from_fn(|at| bytes[2 + 8 * field + at]));
        Ok(Self { kind, term: field(0), writer: field(1), sequence: field(2) })
    }
}

/// What a batch says of itself, as far as the rule looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    Stamp(Stamp),
    /// It has no such header, or is part of a transaction.
    Foreign,
    /// Of the broker's own records.
    Control,
}

/// Why a batch with our header does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
#[non_exhaustive]
pub enum Dead {
    /// It is of a term that was over, or another claim of its term came first.
    #[display("of an older term")]
    OlderTerm,
    /// The same batch came before it.
    #[display("a copy")]
    Copy,
    /// The batch before it in its writer's order is not in the log before it.
    #[display("out of turn")]
    OutOfTurn,
}

/// What the rule says of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    Entry,
    Claim,
    Dead(Dead),
    Foreign,
    Control,
}

/// Why a log cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Damage {
    TermAhead,
    Header,
    Format,
    Hole,
    /// It begins before the offset that was read up to: the log was truncated, and other batches were written there.
    Straddles,
    /// It has the number of an append that this writer has not made.
    NotOurs,
}

impl Damage {
    /// What is wrong with the batch.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::TermAhead => "no claim before it leads to its term",
            Self::Header => "its first record or its header cannot be read, or its header is not the first",
            Self::Format => "its format is unknown to this version of the client",
            Self::Hole => "offsets before it or in it are missing: was the log compacted?",
            Self::Straddles => "it begins before the offset that was read up to",
            Self::NotOurs => {
                "it has this writer's term and id, and this writer did not append it: does a copy of the process run?"
            }
        }
    }
}

/// The state of the rule: which batches count next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Fence {
    /// The term in force; 0 before the first claim.
    pub(crate) term: u64,
    /// Whose term it is.
    pub(crate) writer: u64,
    /// Of the next entry that counts; 0 before the first claim, so that none does.
    pub(crate) next_sequence: u64,
}

impl Fence {
    fn judge(&mut self, stamp: Stamp) -> Result<Verdict, Damage> {
        let Stamp { kind, term, writer, sequence } = stamp;
        let is_in_force = (term, writer) == (self.term, self.writer);
        match kind {
            Kind::Claim if Some(term) == self.term.checked_add(1) => {
                *self = Self { term, writer, next_sequence: 1 };
                Ok(Verdict::Claim)
            }
            _ if term > self.term => Err(Damage::TermAhead),
            Kind::Claim if is_in_force => Ok(Verdict::Dead(Dead::Copy)),
            Kind::Claim => Ok(Verdict::Dead(Dead::OlderTerm)),
            _ if !is_in_force => Ok(Verdict::Dead(Dead::OlderTerm)),
            _ if sequence < self.next_sequence => Ok(Verdict::Dead(Dead::Copy)),
            // Nobody makes so many appends that the last number is one of them.
            _ if sequence > self.next_sequence || [0, u64::MAX].contains(&sequence) => {
                Ok(Verdict::Dead(Dead::OutOfTurn))
            }
            _ => {
                self.next_sequence += 1;
                Ok(Verdict::Entry)
            }
        }
    }
}

/// How far a log was read, and the rule's state there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Reading {
    pub(crate) fence: Fence,
    pub(crate) next_offset: i64,
}

impl Reading {
    /// Passes the next batch of the log, which has the offsets from `base_offset` up to `next_offset`.
    pub(crate) fn pass(
        &mut self,
        (base_offset, next_offset): (i64, i64),
        mark: Mark,
    ) -> Result<Verdict, Damage> {
        match base_offset.cmp(&self.next_offset) {
            std::cmp::Ordering::Less => return Err(Damage::Straddles),
            std::cmp::Ordering::Greater => return Err(Damage::Hole),
            std::cmp::Ordering::Equal => {}
        }
        let verdict = match mark {
            Mark::Stamp(stamp) => self.fence.judge(stamp)?,
            Mark::Foreign => Verdict::Foreign,
            Mark::Control => Verdict::Control,
        };
        self.next_offset = next_offset;
        Ok(verdict)
    }
}
