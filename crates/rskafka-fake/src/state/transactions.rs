//! The transactions in a log: which are under way, and which were aborted (Kafka class
//! `TransactionIndex`).
//!
//! Invariant: what stands below the last stable offset is decided.

use super::producers::Origin;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Of its marker.
    last_offset: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Transactions {
    /// Producer and first offset, in the order of their beginning.
    open: Vec<(i64, i64)>,
    /// In the order of their end: first offset and that of the marker, which readers may not have yet.
    ended: Vec<(i64, i64)>,
    /// In the order of their end.
    aborted: Vec<Aborted>,
}

impl Transactions {
    pub(super) fn appended(&mut self, batch: &Origin, base_offset: i64, last_offset: i64) {
        let Origin { producer_id, transactional, marker, .. } = *batch;
        let open = self.open.iter().position(|&(id, _)| id == producer_id);
        match (marker, open) {
            (None, None) if transactional => self.open.push((producer_id, base_offset)),
            (Some(committed), Some(open)) => {
                let (_, first_offset) = self.open.remove(open);
                self.ended.push((first_offset, last_offset));
                if !committed {
                    self.aborted.push(Aborted { producer_id, first_offset, last_offset });
                }
            }
            _ => {}
        }
    }

    /// The offset before which every transaction is decided.
    pub(super) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let open = self.open.iter().map(|&(_, first)| first);
        // A marker that is not replicated may still be lost.
        let undecided =
            self.ended.iter().filter(|&&(_, last)| last >= high_watermark).map(|&(first, _)| first);
        open.chain(undecided).chain([high_watermark]).min().unwrap_or(high_watermark)
    }

    /// The aborted transactions with records in a range, in the order of their end.
    pub(super) fn aborted(&self, start: i64, end: i64) -> impl Iterator<Item = Aborted> {
        self.aborted.iter().copied().filter(move |one| one.last_offset >= start && one.first_offset < end)
    }

    /// The log now begins at `offset`.
    pub(super) fn move_start(&mut self, offset: i64) {
        self.ended.retain(|&(_, last)| last >= offset);
        self.aborted.retain(|one| one.last_offset >= offset);
    }
}
