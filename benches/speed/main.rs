//! Criterion's benches, with throughput: `cargo bench -p rskafka-benches --bench speed [-- FILTER]`.

#[path = "../../crates/rskafka-protocol/benches/data/mod.rs"]
mod data;

mod codecs;
mod messages;
mod records;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = benches;
    // Short, as there are many; `--measurement-time` and the like on the command line win.
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(30)
        .configure_from_args();
    targets = records::benches, codecs::benches, messages::benches
}
criterion_main!(benches);
