//! The memory that all lines of one client share for appends that are not written yet.
//!
//! Invariant: lines that wait for memory get it in the order in which they began to wait, and no line that comes later
//! gets any before them.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rskafka_cluster::transport::lock;

struct Memory {
    limit: usize,
    used: usize,
    /// The lines that need more than there is.
    waiting: VecDeque<Weak<dyn Waiter>>,
}

/// A line that may wait for memory.
pub(crate) trait Waiter: Send + Sync {
    /// There may be memory for it now.
    fn admit(self: Arc<Self>);
}

/// The memory of one client.
#[derive(Clone, derive_more::Debug)]
#[debug("SharedMemory({} bytes used)", self.lock().used)]
pub(crate) struct SharedMemory(Arc<Mutex<Memory>>);

impl SharedMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Memory { limit, used: 0, waiting: VecDeque::new() })))
    }

    /// Lets lines that wait take what there is. Not under a line's lock.
    pub(crate) fn hand_out(&self) {
        loop {
            let Some(first) = self.lock().waiting.front().cloned() else { return };
            match first.upgrade() {
                Some(line) => line.admit(),
                None => self.lock().waiting.retain(|line| !line.ptr_eq(&first)),
            }
            let still_waits = self.lock().waiting.front().is_some_and(|line| line.ptr_eq(&first));
            if still_waits {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        lock(&self.0)
    }
}

/// What one line has of it.
#[derive(derive_more::Debug)]
#[debug("Share({taken} bytes taken)")]
pub(crate) struct Share {
    memory: SharedMemory,
    line: Weak<dyn Waiter>,
    taken: usize,
    is_waiting: bool,
    /// Others may get memory now.
    has_given_back: bool,
}

impl Share {
    pub(crate) fn new(memory: SharedMemory, line: Weak<dyn Waiter>) -> Self {
        Self { memory, line, taken: 0, is_waiting: false, has_given_back: false }
    }

    /// Takes memory for the line's next entry. If there is none, or others wait for it, the line waits.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let mut memory = self.memory.lock();
        let is_next = match memory.waiting.front() {
            Some(first) => first.ptr_eq(&self.line),
            None => true,
        };
        // What is larger than the limit gets all of it.
        let fits = memory.used == 0 || bytes <= memory.limit.saturating_sub(memory.used);
        if !is_next || !fits {
            if !mem::replace(&mut self.is_waiting, true) {
                memory.waiting.push_back(self.line.clone());
            }
            return false;
        }
        memory.used += bytes;
        self.taken += bytes;
        if mem::take(&mut self.is_waiting) {
            memory.waiting.pop_front();
            self.has_given_back = true;
        }
        true
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        if bytes > 0 {
            self.taken -= bytes;
            self.memory.lock().used -= bytes;
            self.has_given_back = true;
        }
    }

    /// The line has no entry that waits.
    pub(crate) fn waits_no_more(&mut self) {
        if mem::take(&mut self.is_waiting) {
            self.memory.lock().waiting.retain(|line| !line.ptr_eq(&self.line));
            self.has_given_back = true;
        }
    }

    /// Whether others may get memory since this was asked last.
    pub(crate) fn has_given_back(&mut self) -> bool {
        mem::take(&mut self.has_given_back)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waits_no_more();
        self.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100;

    #[derive(Debug, Clone)]
    enum Event {
        /// A line's next entry needs memory.
        Take {
            line: usize,
            bytes: usize,
        },
        GiveBack {
            line: usize,
        },
        StopWaiting {
            line: usize,
        },
    }

    fn event() -> impl Strategy<Value = Event> {
        let line = || 0..LINES;
        prop_oneof![
            4 => (line(), 1usize..150).prop_map(|(line, bytes)| Event::Take { line, bytes }),
            3 => line().prop_map(|line| Event::GiveBack { line }),
            1 => line().prop_map(|line| Event::StopWaiting { line }),
        ]
    }

    const LINES: usize = 4;

    /// A line with at most one entry that waits.
    struct Line {
        number: usize,
        state: Mutex<State>,
        /// The lines that got memory by `admit`, in order.
        order: Arc<Mutex<Vec<usize>>>,
    }

    struct State {
        share: Share,
        needed: Option<usize>,
        taken: Vec<usize>,
    }

    impl State {
        /// Takes what is needed, if it may.
        fn take(&mut self) -> bool {
            let is_taken = self.needed.is_some_and(|bytes| self.share.take(bytes));
            if is_taken {
                self.taken.extend(self.needed.take());
            }
            if self.needed.is_none() {
                self.share.waits_no_more();
            }
            is_taken
        }
    }

    impl Waiter for Line {
        fn admit(self: Arc<Self>) {
            if lock(&self.state).take() {
                lock(&self.order).push(self.number);
            }
        }
    }

    fn line(number: usize, memory: &SharedMemory, order: &Arc<Mutex<Vec<usize>>>) -> Arc<Line> {
        Arc::new_cyclic(|line: &Weak<Line>| {
            let share = Share::new(memory.clone(), line.clone());
            let state = Mutex::new(State { share, needed: None, taken: Vec::new() });
            Line { number, state, order: order.clone() }
        })
    }

    proptest! {
        #[test]
        fn lines_get_memory_in_the_order_in_which_they_began_to_wait(
            events in prop::collection::vec(event(), 0..200),
        ) {
            let memory = SharedMemory::new(LIMIT);
            let order = Arc::new(Mutex::new(Vec::new()));
            let lines: Vec<_> = (0..LINES).map(|number| line(number, &memory, &order)).collect();
            let state = |line: usize| lock(&lines[line].state);
            let mut waiting: VecDeque<usize> = VecDeque::new();
            for event in events {
                match event {
                    Event::Take { line, bytes } => {
                        state(line).needed = Some(bytes);
                        let is_taken = state(line).take();
                        if is_taken {
                            let first = waiting.pop_front();
                            prop_assert!(first.is_none_or(|first| first == line), "it came later than {first:?}");
                        } else if !waiting.contains(&line) {
                            waiting.push_back(line);
                        }
                    }
                    Event::GiveBack { line } => {
                        let mut state = state(line);
                        if let Some(bytes) = state.taken.pop() {
                            state.share.give_back(bytes);
                        }
                    }
                    Event::StopWaiting { line } => {
                        state(line).needed = None;
                        state(line).share.waits_no_more();
                        waiting.retain(|other| *other != line);
                    }
                }
                memory.hand_out();
                for line in lock(&order).drain(..) {
                    prop_assert_eq!(Some(line), waiting.pop_front());
                }
                let taken: Vec<usize> = (0..LINES).flat_map(|line| state(line).taken.clone()).collect();
                let used: usize = taken.iter().sum();
                prop_assert!(used <= LIMIT || taken.len() == 1, "{taken:?}");
                prop_assert_eq!(memory.lock().used, used);
                let first = waiting.front().and_then(|line| state(*line).needed);
                prop_assert!(first.is_none_or(|bytes| used > 0 && used + bytes > LIMIT), "there is room for the first");
            }
            drop(lines);
            prop_assert_eq!(memory.lock().used, 0);
            prop_assert!(memory.lock().waiting.is_empty());
        }
    }
}
