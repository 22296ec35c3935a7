//! Maps and sets of whole numbers that come in runs, such as offsets.
//!
//! Invariant: neighbours that continue each other are one entry, so that a log without surprises takes
//! one entry, however long it is.

use std::collections::BTreeMap;
use std::ops::Range;

/// A map from numbers to numbers. As a set of numbers, each is mapped to itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    /// By first key: the first value, and how many follow with both one higher each.
    runs: BTreeMap<i64, Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    value: i64,
    len: i64,
}

impl Runs {
    /// How many entries it takes.
    pub(crate) fn entries(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn contains(&self, key: i64) -> bool {
        self.run_at(key).is_some()
    }

    /// Maps `key` to `value`, unless it is mapped already: then nothing changes, and this is `false`.
    pub(crate) fn insert(&mut self, key: i64, value: i64) -> bool {
        if self.contains(key) {
            return false;
        }
        let mut first = key;
        let mut new = Run { value, len: 1 };
        if let Some((before, run)) = self.runs.range(..key).next_back().map(|(first, run)| (*first, *run))
            && before + run.len == key
            && run.value + run.len == value
        {
            first = before;
            new = Run { value: run.value, len: run.len + 1 };
        }
        if let Some(after) = self.runs.get(&(key + 1)).copied()
            && after.value == value + 1
        {
            self.runs.remove(&(key + 1));
            new.len += after.len;
        }
        self.runs.insert(first, new);
        true
    }

    /// Adds `key` to a set; `false` if it is there.
    pub(crate) fn add(&mut self, key: i64) -> bool {
        self.insert(key, key)
    }

    /// Takes `key` out and gives what it is mapped to.
    pub(crate) fn remove(&mut self, key: i64) -> Option<i64> {
        let (first, run) = self.run_at(key)?;
        let before = key - first;
        let value = run.value + before;
        self.runs.remove(&first);
        if before > 0 {
            self.runs.insert(first, Run { value: run.value, len: before });
        }
        if before + 1 < run.len {
            self.runs.insert(key + 1, Run { value: value + 1, len: run.len - before - 1 });
        }
        Some(value)
    }

    /// The runs in the order of keys: keys, and the first value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<i64>, i64)> {
        self.runs.iter().map(|(first, run)| (*first..first + run.len, run.value))
    }

    /// What of `keys` is not there.
    pub(crate) fn missing(&self, keys: Range<i64>) -> Vec<Range<i64>> {
        let mut missing = Vec::new();
        let mut from = self.run_at(keys.start).map_or(keys.start, |(first, run)| first + run.len);
        while from < keys.end {
            let next = self.runs.range(from..keys.end).next();
            missing.push(from..next.map_or(keys.end, |(first, _)| *first));
            from = next.map_or(keys.end, |(first, run)| first + run.len);
        }
        // Two runs can touch without continuing each other.
        missing.retain(|range| !range.is_empty());
        missing
    }

    fn run_at(&self, key: i64) -> Option<(i64, Run)> {
        let (first, run) = self.runs.range(..=key).next_back()?;
        (key - first < run.len).then_some((*first, *run))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_behave_like_a_map(
            steps in prop::collection::vec((any::<bool>(), 0i64..24, 0i64..3), 0..200),
            range in (0i64..24, 0i64..24),
        ) {
            let mut runs = Runs::default();
            let mut model = BTreeMap::new();
            for (insert, key, shift) in steps {
                if insert {
                    let is_new = !model.contains_key(&key);
                    model.entry(key).or_insert(key + shift);
                    prop_assert_eq!(runs.insert(key, key + shift), is_new);
                } else {
                    prop_assert_eq!(runs.remove(key), model.remove(&key));
                }
            }
            let flat = runs.iter().flat_map(|(keys, value)| keys.clone().map(move |key| (key, value + key - keys.start)));
            prop_assert_eq!(flat.collect::<BTreeMap<_, _>>(), model.clone());
            for key in 0..24 {
                prop_assert_eq!(runs.contains(key), model.contains_key(&key));
            }
            let missing: Vec<i64> = runs.missing(range.0..range.1).into_iter().flatten().collect();
            let expected: Vec<i64> = (range.0..range.1).filter(|key| !model.contains_key(key)).collect();
            prop_assert_eq!(missing, expected);
        }

        #[test]
        fn neighbours_make_one_run_in_any_order(keys in Just((0..50).collect::<Vec<i64>>()).prop_shuffle()) {
            let mut runs = Runs::default();
            for key in keys {
                prop_assert!(runs.insert(key, key + 7));
            }
            prop_assert_eq!(runs.entries(), 1);
        }
    }
}
