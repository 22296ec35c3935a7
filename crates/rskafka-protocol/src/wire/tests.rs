//! The random decisions from which tests make a message.
//!
//! Plain, and not a strategy of proptest: one for each field of each message took most of the time of building the tests.
//!
//! Invariant: a seed and a limit always make the same decisions. Those after the limit are 0, for which every field is as
//! small as it can be: so a message that fails a test can be made smaller.

/// What is decided next.
pub(crate) struct Choices {
    state: u64,
    left: usize,
    null_is_allowed: bool,
}

impl Choices {
    pub(crate) fn new(seed: u64, limit: usize) -> Self {
        Self { state: seed, left: limit, null_is_allowed: true }
    }

    /// Any number (splitmix64).
    pub(crate) fn number(&mut self) -> u64 {
        let Some(left) = self.left.checked_sub(1) else { return 0 };
        self.left = left;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// Whether the next value that can be null may be.
    pub(crate) fn allow_null(&mut self, is_allowed: bool) {
        self.null_is_allowed = is_allowed;
    }

    /// Whether a value that can be null is.
    pub(crate) fn takes_null(&mut self) -> bool {
        std::mem::replace(&mut self.null_is_allowed, true) && self.below(2) == 0
    }
}
