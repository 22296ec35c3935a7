//! The memory that decoding asks for.
//!
//! Invariant: the peak is at most 64 KiB and 32 times the input, also if the input claims larger lengths.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `decode` on an input of `size` bytes and panics if it took too much memory.
pub fn bounded<T>(size: usize, decode: impl FnOnce() -> T) -> T {
    at_most(32 * size + 64 * 1024, decode)
}

/// Runs `work` and panics if it took more than `limit` bytes at any time.
pub fn at_most<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let outcome = work();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(taken <= limit, "{taken} bytes of memory were taken, {limit} are the most");
    outcome
}
