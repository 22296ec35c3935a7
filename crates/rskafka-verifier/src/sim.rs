//! Simulation: the whole client against the fake cluster, on one thread, in virtual time, under faults.
//!
//! A [`Plan`] of faults and all other random choices follow from a seed. Actors append and read through the
//! client; rules (Jepsen's queue rules, deadlines, no task or memory left behind) say what is wrong. The same
//! seed gives the same [`Outcome`], down to every frame.
//!
//! Invariant: a run depends on its [`Setup`] alone. [`Live`] applies the same rules to a real cluster, in real time.

mod appending;
mod book;
mod claimant;
mod claimants;
mod director;
mod drop;
mod exclusive;
pub(crate) mod frames;
mod kind;
pub(crate) mod live;
mod mistake;
mod network;
mod options;
mod plan;
mod profile;
mod rates;
mod reader;
pub(crate) mod rules;
mod run;
mod sweep;
mod tap;
mod trace;
mod truth;
mod value;
mod wire;
mod writer;

use time::{Duration, OffsetDateTime};

pub use self::kind::{Applied, DROPPED, Kind, Way};
pub use self::live::duel::Claims;
pub use self::live::process;
pub use self::live::{Live, LiveOutcome};
pub use self::mistake::Mistake;
pub use self::plan::{Moment, Plan, PlannedFault, What};
pub use self::profile::Profile;
pub use self::rules::{Finding, Wrong};
pub use self::run::{Outcome, Setup, run};
pub use self::sweep::{Measure, Sweep, run_measured, shrink, sweep};

/// When every run begins.
const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));
