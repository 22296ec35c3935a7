//! Hostile input: no decoder takes more memory than its input justifies, or time that grows faster.
//!
//! Memory is what the global allocator is asked for on the test's own thread, at its highest; zstd's is
//! counted too. `allocation-counter` counts a reallocation as a copy: old and new memory at once.

mod bombs;
mod craft;
#[path = "../golden/data.rs"]
mod data;
mod golden;
mod messages;
mod records;
mod time;

/// What a decoder may take of `input` bytes.
fn allowed(input: usize) -> u64 {
    (32 * input + 64 * 1024) as u64
}

/// The most memory held while `run` runs, in bytes.
fn peak(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).bytes_max
}

/// Random numbers that are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
