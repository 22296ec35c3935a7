//! Who takes part in a run, and what may go wrong.
//!
//! Invariant: a finding is forgiven only where the profile says so.

use std::collections::BTreeSet;

use super::kind::Kind;
use super::plan::What;

/// The actors of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Writers that send nothing again, each with a partition client of its own.
    pub writers: usize,
    /// Writers that send appends with an unknown outcome again, which may write duplicates.
    pub resenders: usize,
    /// Whether their duplicates are forgiven.
    pub forgives_copies: bool,
    /// Readers that follow the log while it grows. Another one reads it whole at the end.
    pub readers: usize,
    /// Readers that follow it by streams and replays, and start again at the position that they have stored.
    pub followers: usize,
    /// Processes that claim an exclusive log, and as many readers of it.
    pub claimants: usize,
    /// Partitions; writers and readers are spread over them.
    pub partitions: usize,
    /// Produce calls of all writers together, at least.
    pub appends: u64,
    /// Whether faults may remove the end of the log, or all of it; the rules do not expect such records back.
    pub loses: bool,
}

impl Profile {
    /// One writer, nothing sent again.
    pub const READERS: Self = Self {
        name: "readers",
        writers: 1,
        resenders: 0,
        forgives_copies: true,
        readers: 1,
        followers: 0,
        claimants: 0,
        partitions: 1,
        appends: 300,
        loses: false,
    };

    /// Several writers and readers on two partitions, nothing sent again.
    pub const WRITERS: Self =
        Self { name: "writers", writers: 3, readers: 2, partitions: 2, ..Self::READERS };

    /// A writer that sends again what may be written.
    pub const RESENDERS: Self = Self { name: "resenders", resenders: 1, ..Self::READERS };

    /// Writers and readers whose log loses acknowledged records (truncation, unclean elections), or whose topic is recreated. A
    /// writer that is not told of what it lost is a finding.
    pub const TRUNCATORS: Self =
        Self { name: "truncators", writers: 2, readers: 2, loses: true, ..Self::READERS };

    /// Readers by streams, replays and stored positions, whose log may lose records.
    pub const FOLLOWERS: Self =
        Self { name: "followers", readers: 0, followers: 2, loses: true, ..Self::READERS };

    /// Processes that claim an exclusive log from each other, are cut off meanwhile, and crash; with readers of it.
    pub const CLAIMANTS: Self =
        Self { name: "claimants", writers: 0, readers: 0, claimants: 3, ..Self::READERS };

    /// All profiles.
    pub const ALL: [Self; 6] =
        [Self::READERS, Self::WRITERS, Self::RESENDERS, Self::TRUNCATORS, Self::FOLLOWERS, Self::CLAIMANTS];

    /// How many writers and readers there are.
    pub(super) fn actors(&self) -> usize {
        self.writers + self.resenders + self.readers + self.followers + 2 * self.claimants
    }

    /// The names of all kinds of faults that its runs can draw.
    pub fn kinds(&self) -> BTreeSet<String> {
        let mut random = fastrand::Rng::with_seed(0);
        (0..5_000).map(|_| Kind::random(&mut random, What::Produce, self).name()).collect()
    }
}
