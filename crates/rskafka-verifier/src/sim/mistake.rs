//! Mistakes that a client could make, made on its behalf: to see that the rules find each.
//!
//! Invariant: without one nothing here runs; one is made now and then, not at every call.

use std::sync::atomic::{AtomicU64, Ordering};

/// One in so many chances is taken; of those that come rarely, one in so many.
const ONE_IN: u64 = 40;
const RARE_ONE_IN: u64 = 4;

/// What a client does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mistake {
    /// Memory of a produce is never freed.
    LeaksMemory,
    /// A task of a produce never ends.
    LeaksTask,
    /// A produce returns after its deadline.
    ReturnsLate,
    /// A produce does not return.
    NeverReturns,
    /// What was written is reported as not written.
    ReportsNotWritten,
    /// A reader is not given a record.
    LeavesOut,
    /// A reader is given a record twice.
    GivesTwice,
    /// A reader is given another record's value.
    MixesUp,
    /// A reader is given nothing although there is something.
    Withholds,
    /// A later offset is named than the one asked for.
    NamesLaterOffset,
    /// A request is sent shortly before the end of a silence.
    BreaksSilence,
    /// Connections are opened one after the other, without a pause.
    DialsWithoutPause,
    /// A task panics.
    Panics,
}

/// The mistake of a run, if it has one.
#[derive(Debug, Default)]
pub(super) struct Mistaken {
    mistake: Option<Mistake>,
    chances: AtomicU64,
}

impl Mistaken {
    pub(super) fn new(mistake: Option<Mistake>) -> Self {
        Self { mistake, ..Self::default() }
    }

    /// Whether the mistake is made at this chance.
    pub(super) fn makes(&self, mistake: Mistake) -> bool {
        let one_in = if mistake == Mistake::NamesLaterOffset { RARE_ONE_IN } else { ONE_IN };
        self.mistake == Some(mistake) && self.chances.fetch_add(1, Ordering::Relaxed) % one_in == one_in - 1
    }
}
