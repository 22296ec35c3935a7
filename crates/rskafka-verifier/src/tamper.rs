//! Tampering with what the reader sees, to show that the checker notices.
//!
//! Invariant: exactly one thing is changed, once, and it is known at which offset.

use std::fmt;

use clap::ValueEnum;
use rskafka::record::RecordAndOffset;

/// What is done to the reader's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tampering {
    /// One record is dropped.
    Lose,
    /// One record comes twice.
    Repeat,
    /// Two neighbours take each other's offset.
    Swap,
    /// One bit of a value is flipped.
    Flip,
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lose => "lose",
            Self::Repeat => "repeat",
            Self::Swap => "swap",
            Self::Flip => "flip",
        })
    }
}

/// Tampers once, at an offset or as soon after it as can be.
#[derive(Debug)]
pub(crate) struct Tamper {
    tampering: Tampering,
    from: i64,
    done_at: Option<i64>,
}

impl Tamper {
    pub(crate) fn new(tampering: Tampering, from: i64) -> Self {
        Self { tampering, from, done_at: None }
    }

    /// The lowest offset concerned, once it is done.
    pub(crate) fn done_at(&self) -> Option<i64> {
        self.done_at
    }

    /// Tampers with what was read, if it is time.
    pub(crate) fn tamper(&mut self, records: &mut Vec<RecordAndOffset>) {
        if self.done_at.is_some() {
            return;
        }
        let mut at = records.partition_point(|record| record.offset < self.from);
        if self.tampering == Tampering::Swap && at + 1 == records.len() {
            at = at.saturating_sub(1);
        }
        let Some(record) = records.get_mut(at) else {
            return;
        };
        let offset = record.offset;
        match self.tampering {
            Tampering::Lose => {
                records.remove(at);
            }
            Tampering::Repeat => {
                let again = record.clone();
                records.insert(at + 1, again);
            }
            Tampering::Swap => match &mut records[at..] {
                [one, other, ..] => std::mem::swap(&mut one.record, &mut other.record),
                _ => return,
            },
            Tampering::Flip => {
                let mut value = record.record.value.take().unwrap_or_default().to_vec();
                let Some(byte) = value.last_mut() else {
                    return;
                };
                *byte ^= 1;
                record.record.value = Some(value.into());
            }
        }
        self.done_at = Some(offset);
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::workload::Workload;
    use crate::workload::tests::as_read;

    fn records(offsets: std::ops::Range<i64>) -> Vec<RecordAndOffset> {
        let workload = Workload::new(OffsetDateTime::UNIX_EPOCH);
        let record = |offset| RecordAndOffset::new(as_read(workload.record(offset)), offset);
        offsets.map(record).collect()
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for &tampering in Tampering::value_variants() {
            assert_eq!(Tampering::from_str(&tampering.to_string(), false), Ok(tampering));
        }
        assert!(Tampering::from_str("drop", false).is_err());
    }

    #[test]
    fn each_changes_one_thing_once_and_not_before_its_offset() {
        for &tampering in Tampering::value_variants() {
            let mut tamper = Tamper::new(tampering, 15);
            let mut early = records(0..10);
            tamper.tamper(&mut early);
            assert_eq!((early, tamper.done_at()), (records(0..10), None));
            let mut view = records(10..20);
            tamper.tamper(&mut view);
            assert_ne!(view, records(10..20));
            assert_eq!(tamper.done_at(), Some(15));
            let mut late = records(20..30);
            tamper.tamper(&mut late);
            assert_eq!(late, records(20..30));
        }
    }

    #[test]
    fn a_swap_at_the_end_takes_the_neighbour_before() {
        let mut tamper = Tamper::new(Tampering::Swap, 9);
        let mut alone = records(9..10);
        tamper.tamper(&mut alone);
        assert_eq!((alone, tamper.done_at()), (records(9..10), None));
        let mut view = records(0..10);
        tamper.tamper(&mut view);
        assert_eq!(tamper.done_at(), Some(8));
        assert_eq!(view[8].record, records(9..10)[0].record);
    }
}
