//! The order of the appends of one line, and the memory that they hold.
//!
//! Invariant: entries leave in the order in which they joined. An entry is admitted as soon as its bytes are within
//! the line's limit and the client's. Only before that may it be taken back.

use std::collections::VecDeque;
use std::mem;

use crate::memory::Share;

/// Entries of `T` in order, with the bytes that they hold.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    limit: usize,
    share: Share,
    /// The bytes of admitted entries, and of those that left by `next` and are not `done` yet.
    used: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Entry<T> {
    id: u64,
    bytes: usize,
    is_admitted: bool,
    item: T,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize, share: Share) -> Self {
        Self { entries: VecDeque::new(), limit, share, used: 0, next_id: 0 }
    }

    /// Puts an entry at the end of the line. Returns its number.
    pub(crate) fn join(&mut self, bytes: usize, item: T) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_back(Entry { id, bytes, is_admitted: false, item });
        self.admit();
        id
    }

    /// Takes back an entry that is not admitted yet.
    pub(crate) fn leave(&mut self, id: u64) -> Option<T> {
        let index = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        if self.entries.get(index)?.is_admitted {
            return None;
        }
        let left = self.entries.remove(index).map(|entry| entry.item);
        // Those behind it may be smaller.
        self.admit();
        left
    }

    /// The next entry that is admitted. Its bytes count until they are given to `done`.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.entries.front().filter(|entry| entry.is_admitted)?;
        self.entries.pop_front().map(|entry| entry.item)
    }

    /// Frees the memory that a longer queue needed.
    pub(crate) fn free(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Takes all entries out, in order. Their bytes do not count any more.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        let admitted = self.entries.iter().filter(|entry| entry.is_admitted);
        let bytes = admitted.map(|entry| entry.bytes).sum();
        self.used -= bytes;
        self.share.give_back(bytes);
        self.share.waits_no_more();
        mem::take(&mut self.entries).into_iter().map(|entry| entry.item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Frees the bytes of an entry that `next` gave.
    pub(crate) fn done(&mut self, bytes: usize) {
        self.used -= bytes;
        self.share.give_back(bytes);
        self.admit();
    }

    /// Whether other lines may get memory since this was asked last.
    pub(crate) fn has_given_back(&mut self) -> bool {
        self.share.has_given_back()
    }

    /// Admits what there is memory for.
    pub(crate) fn admit(&mut self) {
        let first = self.entries.partition_point(|entry| entry.is_admitted);
        for entry in self.entries.range_mut(first..) {
            // An entry that is larger than the limit is admitted alone.
            if self.used > 0 && self.used + entry.bytes > self.limit {
                break;
            }
            if !self.share.take(entry.bytes) {
                return;
            }
            self.used += entry.bytes;
            entry.is_admitted = true;
        }
        self.share.waits_no_more();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use proptest::prelude::*;

    use super::*;
    use crate::memory::{SharedMemory, Waiter};

    /// A line that is alone with the memory of its client.
    struct Alone;

    impl Waiter for Alone {
        fn admit(self: Arc<Self>) {}
    }

    fn queue<T>(limit: usize) -> Queue<T> {
        Queue::new(limit, Share::new(SharedMemory::new(usize::MAX), Weak::<Alone>::new()))
    }

    #[derive(Debug, Clone)]
    enum Event {
        Join(usize),
        Leave(usize),
        Next,
        Done,
        TakeAll,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (1usize..60).prop_map(Event::Join),
            1 => any::<usize>().prop_map(Event::Leave),
            2 => Just(Event::Next),
            2 => Just(Event::Done),
            1 => Just(Event::TakeAll),
        ]
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_admitted_only_when_it_is_alone() {
        let mut line = queue(10);
        let first = line.join(11, 'a');
        assert_eq!(line.leave(first), None, "it is admitted");
        let second = line.join(11, 'b');
        assert_eq!(line.next(), Some('a'));
        line.done(11);
        assert_eq!(line.leave(second), None, "it is admitted now");
        let third = line.join(1, 'c');
        assert_eq!(line.leave(third), Some('c'), "it is not admitted");
    }

    #[test]
    fn a_line_that_is_idle_holds_no_memory() {
        let mut line = queue(100);
        for bytes in 0..50 {
            line.join(bytes, bytes);
        }
        while let Some(bytes) = line.next() {
            line.done(bytes);
        }
        line.free();
        assert_eq!(line.entries.capacity(), 0);
    }

    proptest! {
        #[test]
        fn entries_leave_in_order_and_admitted_ones_stay_within_the_limit(
            events in prop::collection::vec(event(), 0..200),
        ) {
            let mut line = queue(100);
            let mut waiting: Vec<u64> = Vec::new();
            let mut out: Vec<usize> = Vec::new();
            for event in events {
                match event {
                    Event::Join(bytes) => waiting.push(line.join(bytes, (line.next_id, bytes))),
                    Event::Leave(index) if !waiting.is_empty() => {
                        let id = waiting[index % waiting.len()];
                        if let Some(left) = line.leave(id) {
                            prop_assert_eq!(left.0, id);
                            waiting.retain(|other| *other != id);
                        }
                    }
                    Event::Next => match line.next() {
                        Some((id, bytes)) => {
                            prop_assert_eq!(id, waiting.remove(0));
                            out.push(bytes);
                        }
                        None => prop_assert!(line.entries.front().is_none_or(|entry| !entry.is_admitted)),
                    },
                    Event::Done => {
                        if let Some(bytes) = out.pop() {
                            line.done(bytes);
                        }
                    }
                    Event::TakeAll => {
                        let taken: Vec<_> = line.take_all().map(|(id, _)| id).collect();
                        prop_assert_eq!(taken, std::mem::take(&mut waiting));
                    }
                    Event::Leave(_) => {}
                }
                let admitted: usize = line.entries.iter().filter(|entry| entry.is_admitted).map(|entry| entry.bytes).sum();
                prop_assert_eq!(line.used, admitted + out.iter().sum::<usize>());
                // The first entry is always admitted once nothing is out.
                prop_assert!(!out.is_empty() || line.entries.front().is_none_or(|entry| entry.is_admitted));
                // One that would fit is admitted.
                let next = line.entries.iter().find(|entry| !entry.is_admitted);
                prop_assert!(next.is_none_or(|next| line.used > 0 && line.used + next.bytes > line.limit));
                // Entries are admitted from the front, without gaps.
                prop_assert!(line.entries.iter().skip_while(|entry| entry.is_admitted).all(|entry| !entry.is_admitted));
            }
        }
    }

    #[test]
    fn a_line_within_its_limit_admits_at_once_and_for_good() {
        let mut line = queue(10);
        let first = line.join(6, 'a');
        let second = line.join(6, 'b');
        assert_eq!(line.leave(first), None);
        assert_eq!(line.leave(second), Some('b'));
        assert_eq!(line.next(), Some('a'));
        assert_eq!(line.next(), None);
    }
}
