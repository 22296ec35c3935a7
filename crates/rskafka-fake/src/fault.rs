//! Faults on command: those of requests, and those of a connection's bytes.
//!
//! Invariant: a fault strikes exactly as often as it says; of several that match, the oldest strikes.

mod bytes;
mod request;
mod sense;

pub use self::bytes::ByteFault;
pub(crate) use self::bytes::{ByteAction, ByteFaults, Direction, Reached};
pub(crate) use self::request::{Action, Rewrite};
pub use self::request::{Fault, Rewritten};

use self::request::RequestFaults;

/// Which requests or connections are struck, and how often: the same for both kinds of faults.
macro_rules! selectors {
    ($fault:ty, $list:ty, $one:literal, $many:ident) => {
        impl $list {
            fn struck(&self, id: FaultId) -> u64 {
                self.injected.iter().find(|injected| injected.id == id).map_or(0, |injected| injected.struck)
            }

            fn remove(&mut self, id: FaultId) {
                self.injected.retain(|injected| injected.id != id);
            }
        }

        impl $fault {
            #[doc = concat!("Only ", stringify!($many), " at this broker.")]
            pub fn at_broker(mut self, broker: i32) -> Self {
                self.broker = Some(broker);
                self
            }

            #[doc = concat!("Not the first ", stringify!($many), " that match, but those after.")]
            pub fn skip(mut self, $many: u64) -> Self {
                self.skip = $many;
                self
            }

            #[doc = concat!("As many ", stringify!($many), ", instead of one.")]
            pub fn times(mut self, $many: u64) -> Self {
                self.times = Some($many);
                self
            }

            #[doc = concat!("Every ", $one, ", until it is taken back.")]
            pub fn always(mut self) -> Self {
                self.times = None;
                self
            }

            pub(crate) fn broker(&self) -> Option<i32> {
                self.broker
            }
        }
    };
}

selectors!(Fault, RequestFaults, "request", requests);
selectors!(ByteFault, ByteFaults, "connection", connections);

/// The number of an injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FaultId(u64);

/// The faults that are injected, oldest first.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) requests: RequestFaults,
    pub(crate) bytes: ByteFaults,
    next_id: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { requests: RequestFaults::new(seed), bytes: ByteFaults::new(seed), next_id: 0 }
    }

    pub(crate) fn next_id(&mut self) -> FaultId {
        let id = FaultId(self.next_id);
        self.next_id += 1;
        id
    }

    /// How many requests or connections a fault struck so far.
    pub(crate) fn struck(&self, id: FaultId) -> u64 {
        self.requests.struck(id) + self.bytes.struck(id)
    }

    pub(crate) fn remove(&mut self, id: FaultId) {
        self.requests.remove(id);
        self.bytes.remove(id);
    }

    pub(crate) fn clear(&mut self) {
        self.requests.injected.clear();
        self.bytes.injected.clear();
    }
}
