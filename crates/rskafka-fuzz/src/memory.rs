//! The memory that decoding asks for.
//!
//! Invariant: the peak is at most 64 KiB and 32 times the input, also if the input claims larger lengths.

/// Runs `decode` on an input of `size` bytes and panics if it took too much memory.
pub fn bounded<T>(size: usize, decode: impl FnOnce() -> T) -> T {
    at_most(32 * size + 64 * 1024, decode)
}

/// Runs `work` and panics if its thread took more than `limit` bytes at any time.
pub fn at_most<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let mut outcome = None;
    let taken = allocation_counter::measure(|| outcome = Some(work())).bytes_max;
    assert!(taken <= limit as u64, "{taken} bytes of memory were taken, {limit} are the most");
    outcome.expect("the work was done")
}
