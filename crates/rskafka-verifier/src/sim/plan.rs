//! What goes wrong in a run, and when: made from a seed.
//!
//! Invariant: a plan follows from seed and profile alone; leaving some of its faults out changes none of
//! the others.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use rskafka::protocol::ApiKey;

use super::director::request_fault;
use super::kind::{Kind, Way};
use super::profile::Profile;

/// How many faults a plan has, unless too few of them are sure to strike.
const FAULTS: Range<usize> = 17..25;
/// So many of them are sure, at least: one more than a sweep wants of each run.
const SURE: usize = 11;

/// A request, as moments tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// Any other.
    Other,
}

impl What {
    pub(super) fn of(api: ApiKey) -> Self {
        match api {
            ApiKey::PRODUCE => Self::Produce,
            ApiKey::FETCH => Self::Fetch,
            _ => Self::Other,
        }
    }
}

/// When a fault strikes: at the next request of its kind after so many produce calls have ended. Calls always end, also by
/// failing, so every moment comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// How many produce calls are over.
    pub after: u64,
    /// Which requests count.
    pub what: What,
    /// Whether no byte of the request has arrived when the fault strikes, or none of its answer; it waits until the fault has
    /// happened.
    pub way: Way,
}

/// A fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    /// When.
    pub moment: Moment,
    /// What.
    pub kind: Kind,
}

/// The faults of a run, in the order of their moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    faults: Vec<(usize, PlannedFault)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64, profile: &Profile) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x706c_616e);
        let count = random.usize(FAULTS);
        // Near the end of a run there may be no more requests.
        let latest = profile.appends - profile.appends / 8;
        let mut fault = || {
            let (what, after) = match random.u8(..10) {
                // No partition knows its producer before the first append.
                0..6 => (What::Produce, if random.u8(..16) == 0 { 0 } else { random.u64(..latest) }),
                6..9 => (What::Fetch, random.u64(..latest)),
                // Most of these are made at the start.
                _ => (What::Other, if random.bool() { 0 } else { random.u64(..latest) }),
            };
            let kind = Kind::random(&mut random, what, profile);
            let way = match random.bool() {
                // The cluster strikes with such a fault when it takes the request.
                true if request_fault(kind).is_none() => Way::Answer,
                _ => Way::Request,
            };
            PlannedFault { moment: Moment { after, what, way }, kind }
        };
        let mut faults: Vec<PlannedFault> = (0..count).map(|_| fault()).collect();
        while faults.iter().filter(|fault| fault.kind.is_sure()).count() < SURE {
            faults.push(fault());
        }
        let mut faults: Vec<_> = faults.into_iter().enumerate().collect();
        faults.sort_by_key(|(number, fault)| (fault.moment, *number));
        Self { faults }
    }

    /// Only the faults with these numbers.
    #[must_use]
    pub fn only(&self, numbers: &BTreeSet<usize>) -> Self {
        let faults = self.faults.iter().filter(|(number, _)| numbers.contains(number));
        Self { faults: faults.copied().collect() }
    }

    /// The faults, each with its number in the seed's whole plan.
    pub fn faults(&self) -> impl Iterator<Item = (usize, &PlannedFault)> {
        self.faults.iter().map(|(number, fault)| (*number, fault))
    }

    /// The faults' numbers.
    pub fn numbers(&self) -> BTreeSet<usize> {
        self.faults.iter().map(|(number, _)| *number).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, PlannedFault { moment: Moment { after, what, way }, kind }) in &self.faults {
            let place = match way {
                Way::Request => "before",
                Way::Answer => "before the answer to",
            };
            writeln!(f, "  fault {number}: {after} appends over, {place} a {what:?}: {kind:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        let profile = Profile::READERS;
        assert_eq!(Plan::of_seed(7, &profile), Plan::of_seed(7, &profile));
        assert_ne!(Plan::of_seed(7, &profile), Plan::of_seed(8, &profile));
    }

    #[test]
    fn leaving_faults_out_keeps_the_others_as_they_are() {
        let plan = Plan::of_seed(7, &Profile::READERS);
        let some: BTreeSet<usize> = [1, 4].into();
        let kept = plan.only(&some);
        assert_eq!(kept.numbers(), some);
        assert!(kept.faults().all(|fault| plan.faults().any(|of_plan| of_plan == fault)));
        assert_eq!(kept.to_string().lines().count(), 2);
    }

    #[test]
    fn every_plan_has_enough_faults_that_are_sure_to_strike() {
        for profile in Profile::ALL {
            for seed in 0..2_000 {
                let plan = Plan::of_seed(seed, &profile);
                let sure = plan.faults().filter(|(_, fault)| fault.kind.is_sure()).count();
                assert!(sure >= SURE && plan.numbers().len() >= FAULTS.start, "seed {seed}:\n{plan}");
            }
        }
    }

    #[test]
    fn every_kind_that_a_profile_allows_is_planned_sooner_or_later() {
        for profile in Profile::ALL {
            let plans: Vec<Plan> = (0..200).map(|seed| Plan::of_seed(seed, &profile)).collect();
            let planned: BTreeSet<String> =
                plans.iter().flat_map(Plan::faults).map(|(_, fault)| fault.kind.name()).collect();
            assert_eq!(planned, profile.kinds(), "{}", profile.name);
        }
    }
}
