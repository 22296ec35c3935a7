//! What goes wrong, and when: a schedule that follows from a seed.
//!
//! Invariant: pure. A fault takes one broker away at most, and the next one waits for it to be back.

use std::time::Duration;

/// A leader is killed or frozen this often.
pub const EVERY: Duration = Duration::from_secs(11);

/// A fault and its moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// From the start of the run; later if the fault before it is not over.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
    /// Chooses the partition, whose leader is struck.
    pub pick: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The leader gets SIGKILL, and is started again after this time.
    Kill(Duration),
    /// The leader gets SIGSTOP, and SIGCONT after this time.
    Freeze(Duration),
    /// Each broker in turn gets SIGTERM and is started again.
    Roll,
    /// The first replica of each partition is elected; after kills and freezes others lead.
    Elect,
    /// Another value of a config of the topic.
    Config,
    /// A connection of each kind is closed, in the middle of requests and answers.
    Cut,
    /// The same, by a reset.
    Reset,
    /// A connection of each kind stands still for this time.
    Stall(Duration),
    /// Each piece of bytes is this late, on all connections.
    Slow(Duration),
}

impl Fault {
    /// Its name in the time line and the report.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase().split('(').next().unwrap_or_default().to_owned()
    }
}

/// In which of so many rounds there is a rolling restart instead of a kill or a freeze.
const ROLLS: (usize, usize) = (24, 6);

/// The faults of a run of this length: in each round of `every` first a broker goes away and comes back, then a smaller thing happens.
pub fn of_seed(seed: u64, length: Duration, every: Duration) -> Vec<Planned> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut plan, mut small, mut kills_first) = (Vec::new(), Vec::new(), false);
    let rounds = (length.as_nanos() / every.as_nanos().max(1)) as usize;
    for round in 0..rounds {
        let start = every * round as u32;
        let part = |random: &mut fastrand::Rng, range| every * random.u32(range) / 1_000;
        // As many kills as freezes, in an order that cannot be foreseen.
        if round % 2 == 0 {
            kills_first = random.bool();
        }
        let fault = match round % ROLLS.0 == ROLLS.1 {
            true => Fault::Roll,
            false if kills_first == (round % 2 == 0) => Fault::Kill(part(&mut random, 0..330)),
            false => Fault::Freeze(part(&mut random, 50..700)),
        };
        plan.push(Planned { at: start + part(&mut random, 0..50), fault, pick: random.usize(..) });
        if small.is_empty() {
            let (stall, slow) = (part(&mut random, 20..200), part(&mut random, 1..10));
            small = vec![Fault::Elect, Fault::Config, Fault::Cut, Fault::Reset];
            small.extend([Fault::Stall(stall), Fault::Slow(slow)]);
            random.shuffle(&mut small);
        }
        let at = start + part(&mut random, 800..850);
        plan.extend(small.pop().map(|fault| Planned { at, fault, pick: random.usize(..) }));
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        assert_eq!(of_seed(7, TEN_MINUTES, EVERY), of_seed(7, TEN_MINUTES, EVERY));
        assert_ne!(of_seed(7, TEN_MINUTES, EVERY), of_seed(8, TEN_MINUTES, EVERY));
        assert_eq!(of_seed(7, EVERY / 2, EVERY), []);
    }

    #[test]
    fn ten_minutes_have_more_than_twenty_kills_and_freezes_and_some_of_everything_else() {
        for seed in 0..100 {
            let plan = of_seed(seed, TEN_MINUTES, EVERY);
            assert!(plan.is_sorted_by_key(|planned| planned.at));
            assert!(plan.iter().all(|planned| planned.at < TEN_MINUTES));
            let mut counts = BTreeMap::<_, usize>::new();
            plan.iter().for_each(|planned| *counts.entry(planned.fault.name()).or_default() += 1);
            assert!(counts["kill"] >= 24 && counts["freeze"] >= 24, "{counts:?}");
            assert!(counts.len() == 9 && counts.values().all(|count| *count >= 2), "{counts:?}");
        }
    }

    #[test]
    fn some_freezes_are_shorter_than_kafkas_session_and_some_longer() {
        let plan = of_seed(1, TEN_MINUTES, EVERY);
        let frozen = plan.iter().filter_map(|planned| match planned.fault {
            Fault::Freeze(time) => Some(time),
            _ => None,
        });
        let (short, long): (Vec<_>, Vec<_>) = frozen.partition(|time| *time < Duration::from_secs(3));
        assert!(short.len() >= 4 && long.len() >= 4, "{short:?} {long:?}");
    }
}
