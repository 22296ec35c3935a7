//! Goes through all states of a small world, or at random through a larger one.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

use super::limits::Limits;
use super::truth::Events;
use super::world::{Action, World};

/// What a search has gone through.
#[derive(Debug, Default)]
pub(super) struct Searched {
    pub(super) states: usize,
    /// The most steps to a state, by the shortest way.
    pub(super) depth: usize,
    pub(super) events: Events,
}

/// Goes through all states, nearest first. At a broken guarantee it panics with the shortest way to it.
pub(super) fn exhaust(limits: &Limits) -> Searched {
    let start = World::new(limits);
    let mut known = HashSet::<u128, BuildHasherDefault<Known>>::default();
    known.insert(start.key());
    // For each state: that before it, and which of its actions was taken.
    let mut ways: Vec<(u32, u16)> = vec![(0, 0)];
    let mut searched = Searched::default();
    let mut layer = vec![(0, start)];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (before, world) in layer {
            for (number, action) in world.actions(limits).into_iter().enumerate() {
                let mut after = world.clone();
                let way = (before, number as u16);
                match after.step(limits, action) {
                    Ok(events) => searched.events.add_all(events),
                    Err(broken) => panic!("{broken}\n{}", story(limits, &choices(&ways, way))),
                }
                if known.insert(after.key()) {
                    next.push((ways.len() as u32, after));
                    ways.push(way);
                }
            }
        }
        searched.depth += usize::from(!next.is_empty());
        layer = next;
    }
    searched.states = ways.len();
    searched
}

/// Goes a random way for each seed. At a broken guarantee it panics with the seed and the way.
pub(super) fn wander(limits: &Limits, seeds: std::ops::Range<u64>) -> Searched {
    let mut searched = Searched::default();
    for seed in seeds {
        let mut random = Random(seed);
        let mut world = World::new(limits);
        let mut way = Vec::new();
        loop {
            let actions = world.actions(limits);
            if actions.is_empty() || way.len() == STEPS {
                break;
            }
            let choice = random.below(actions.len());
            way.push(choice);
            match world.step(limits, actions[choice]) {
                Ok(events) => searched.events.add_all(events),
                Err(broken) => panic!("seed {seed}: {broken}\n{}", story(limits, &way)),
            }
        }
        searched.states += way.len();
        searched.depth = searched.depth.max(way.len());
    }
    searched
}

const STEPS: usize = 150;

fn choices(ways: &[(u32, u16)], last: (u32, u16)) -> Vec<usize> {
    let mut choices = vec![usize::from(last.1)];
    let mut at = last.0;
    while at != 0 {
        let (before, number) = ways[at as usize];
        choices.push(usize::from(number));
        at = before;
    }
    choices.reverse();
    choices
}

/// The steps of a way, as one reads them, and where it ends.
fn story(limits: &Limits, choices: &[usize]) -> String {
    let mut world = World::new(limits);
    let mut story = String::new();
    for (number, choice) in choices.iter().enumerate() {
        let action = world.actions(limits)[*choice];
        let seen = match action {
            Action::Deliver(request) => format!("{:?}", world.network.requests[request]),
            _ => String::new(),
        };
        let broken = world.step(limits, action).err().unwrap_or_default();
        _ = writeln!(story, "{number:>3}. {action:?} {seen} {broken}");
    }
    for batch in world.log.iter() {
        _ = writeln!(story, "in the log: {batch:?}");
    }
    story
}

impl World {
    /// Stands for the state. Processes may change places.
    fn key(&self) -> u128 {
        let rest = (&self.log, self.log_start, &self.network, &self.never, self.rest());
        let processes = self.processes.iter().map(|process| hashed(Rc::as_ref(process)));
        processes.fold(hashed(&rest), u128::wrapping_add)
    }
}

fn hashed(value: &impl Hash) -> u128 {
    let mut wide = Wide(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    value.hash(&mut wide);
    wide.write_u64(0);
    wide.0
}

/// A hash of 128 bits.
struct Wide(u128);

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ u128::from(word)).wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
        self.0 = mixed ^ mixed >> 67;
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 as u64
    }
}

/// Takes what is hashed already as it is.
#[derive(Default)]
struct Known(u64);

impl Hasher for Known {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u128 is hashed");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}
