//! How much happens in a world.

/// How often each may happen, and which processes there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) processes: usize,
    /// Batches that the log takes in.
    pub(super) batches: usize,
    /// In all, over all processes.
    pub(super) claims: u8,
    /// Under each claim.
    pub(super) appends: usize,
    /// That are not settled at once.
    pub(super) pipeline: usize,
    /// Answers after which a batch may be sent again.
    pub(super) again: u8,
    /// Answers after which it may not, and reads that are given up.
    pub(super) failed: u8,
    pub(super) crashes: u8,
    pub(super) stores: u8,
    /// Moves of the log's start: trims, and falls back to an earlier offset.
    pub(super) log_starts: u8,
    /// Foreign and control batches.
    pub(super) others: u8,
    pub(super) cuts: u8,
    /// Every other batch has two records.
    pub(super) wide: bool,
    /// Writers read on also where they need not.
    pub(super) tails: bool,
    /// They do so after their end, too.
    pub(super) tails_after_end: bool,
}

/// Two processes, two claims, and nothing that goes wrong but copies and delays.
pub(super) const CALM: Limits = Limits {
    processes: 2,
    batches: 4,
    claims: 2,
    appends: 1,
    pipeline: 2,
    again: 0,
    failed: 0,
    crashes: 0,
    stores: 0,
    log_starts: 0,
    others: 0,
    cuts: 0,
    wide: false,
    tails: true,
    tails_after_end: false,
};
