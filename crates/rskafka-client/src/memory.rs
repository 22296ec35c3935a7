//! The memory that all lines of one client share for appends that are not written yet.
//!
//! Invariant: lines that wait for memory get it in the order in which they began to wait, and no line that comes later
//! gets any before them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rskafka_cluster::transport::lock;

/// Memory for waiters of type `W`.
#[derive(Debug)]
struct Memory<W> {
    limit: usize,
    used: usize,
    /// Each with the bytes that it needs next.
    waiting: VecDeque<(W, usize)>,
}

impl<W> Memory<W> {
    fn fits(&self, bytes: usize) -> bool {
        // What is larger than the limit gets all of it.
        self.used == 0 || bytes <= self.limit.saturating_sub(self.used)
    }

    /// Takes memory, unless there is none or others wait for it.
    fn take(&mut self, bytes: usize) -> bool {
        let is_free = self.waiting.is_empty() && self.fits(bytes);
        self.used += if is_free { bytes } else { 0 };
        is_free
    }

    /// Takes memory for the first that waits.
    fn grant(&mut self) -> Option<(W, usize)> {
        let (_, bytes) = self.waiting.front().filter(|(_, bytes)| self.fits(*bytes))?;
        self.used += bytes;
        self.waiting.pop_front()
    }
}

/// A line that may wait for memory.
pub(crate) trait Waiter: Send + Sync {
    /// The memory that it waited for was taken for it.
    fn granted(self: Arc<Self>, bytes: usize);
}

type Waiters = Memory<Weak<dyn Waiter>>;

/// The memory of one client.
#[derive(Clone, derive_more::Debug)]
#[debug("SharedMemory({} bytes used)", self.lock().used)]
pub(crate) struct SharedMemory(Arc<Mutex<Waiters>>);

impl SharedMemory {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Memory { limit, used: 0, waiting: VecDeque::new() })))
    }

    /// Gives lines that wait what there is. Not under a line's lock.
    pub(crate) fn hand_out(&self) {
        loop {
            let granted = self.lock().grant();
            let Some((waiter, bytes)) = granted else { return };
            match waiter.upgrade() {
                Some(waiter) => waiter.granted(bytes),
                None => self.give_back(bytes),
            }
        }
    }

    fn give_back(&self, bytes: usize) {
        self.lock().used -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
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
    /// Taken for the entry that waited first.
    granted: usize,
    is_waiting: bool,
    /// Others may get memory now.
    has_given_back: bool,
}

impl Share {
    pub(crate) fn new(memory: SharedMemory, line: Weak<dyn Waiter>) -> Self {
        Self { memory, line, taken: 0, granted: 0, is_waiting: false, has_given_back: false }
    }

    /// The memory that this line waited for is there.
    pub(crate) fn granted(&mut self, bytes: usize) {
        self.is_waiting = false;
        self.granted += bytes;
        self.taken += bytes;
    }

    /// Takes memory for the line's next entry. If there is none, the line waits for it.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        if self.granted == bytes {
            self.granted = 0;
            return true;
        }
        self.give_granted_back();
        let mut memory = self.memory.lock();
        if !self.is_waiting && memory.take(bytes) {
            self.taken += bytes;
            return true;
        }
        if self.is_waiting {
            let here = memory.waiting.iter_mut().find(|(line, _)| line.ptr_eq(&self.line));
            here.into_iter().for_each(|(_, needed)| *needed = bytes);
            // It may need less than the entry before it.
            self.has_given_back = true;
        } else {
            memory.waiting.push_back((self.line.clone(), bytes));
            self.is_waiting = true;
        }
        false
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        if bytes > 0 {
            self.taken -= bytes;
            self.memory.give_back(bytes);
            self.has_given_back = true;
        }
    }

    /// The line has no entry that waits.
    pub(crate) fn waits_no_more(&mut self) {
        self.give_granted_back();
        if std::mem::take(&mut self.is_waiting) {
            self.memory.lock().waiting.retain(|(line, _)| !line.ptr_eq(&self.line));
            self.has_given_back = true;
        }
    }

    /// Whether others may get memory since this was asked last.
    pub(crate) fn has_given_back(&mut self) -> bool {
        std::mem::take(&mut self.has_given_back)
    }

    fn give_granted_back(&mut self) {
        let granted = std::mem::take(&mut self.granted);
        self.give_back(granted);
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

    /// What a line was granted and has not taken in.
    #[derive(Default)]
    struct Granted {
        number: usize,
        order: Arc<Mutex<Vec<(usize, usize)>>>,
    }

    impl Waiter for Granted {
        fn granted(self: Arc<Self>, bytes: usize) {
            lock(&self.order).push((self.number, bytes));
        }
    }

    proptest! {
        #[test]
        fn lines_get_memory_in_the_order_in_which_they_began_to_wait(
            events in prop::collection::vec(event(), 0..200),
        ) {
            let memory = SharedMemory::new(LIMIT);
            let order = Arc::new(Mutex::new(Vec::new()));
            let lines: Vec<_> =
                (0..LINES).map(|number| Arc::new(Granted { number, order: order.clone() })).collect();
            let share = |line: &Arc<Granted>| Share::new(memory.clone(), Arc::<Granted>::downgrade(line));
            let mut shares: Vec<_> = lines.iter().map(share).collect();
            // What each line needs next and has taken, and who waits, in order.
            let mut needed = [None; LINES];
            let mut taken: [Vec<usize>; LINES] = Default::default();
            let mut waiting: VecDeque<usize> = VecDeque::new();
            for event in events {
                match event {
                    Event::Take { line, bytes } => {
                        if shares[line].take(bytes) {
                            prop_assert!(waiting.is_empty(), "it came later than {waiting:?}");
                            taken[line].push(bytes);
                        } else {
                            needed[line] = Some(bytes);
                            if !waiting.contains(&line) {
                                waiting.push_back(line);
                            }
                        }
                    }
                    Event::GiveBack { line } => {
                        if let Some(bytes) = taken[line].pop() {
                            shares[line].give_back(bytes);
                        }
                    }
                    Event::StopWaiting { line } => {
                        shares[line].waits_no_more();
                        needed[line] = None;
                        waiting.retain(|other| *other != line);
                    }
                }
                memory.hand_out();
                for (line, bytes) in lock(&order).drain(..) {
                    prop_assert_eq!(Some(line), waiting.pop_front());
                    prop_assert_eq!(Some(bytes), needed[line].take());
                    shares[line].granted(bytes);
                    prop_assert!(shares[line].take(bytes));
                    taken[line].push(bytes);
                }
                let used: usize = taken.iter().flatten().sum();
                let is_alone = taken.iter().flatten().count() == 1;
                prop_assert!(used <= LIMIT || is_alone, "{taken:?}");
                prop_assert_eq!(memory.lock().used, used);
                let first = waiting.front().and_then(|line| needed[*line]);
                prop_assert!(first.is_none_or(|bytes| used > 0 && used + bytes > LIMIT), "there is room for the first");
            }
            drop(shares);
            prop_assert_eq!(memory.lock().used, 0);
            prop_assert!(memory.lock().waiting.is_empty());
        }
    }
}
