//! Trims beside a store of snapshots that takes a position only over one that is before it.

use proptest::prelude::*;

use super::super::Position;

proptest! {
    /// Owners store positions, also lower ones if they were fenced long ago, and trim up to what was stored, however late.
    #[test]
    fn a_store_that_takes_higher_positions_only_is_never_below_the_logs_start(
        steps in proptest::collection::vec((any::<bool>(), 1..20_i64), 0..60),
    ) {
        let (mut stored, mut trims, mut log_start) = (Position::START, Vec::<i64>::new(), 0);
        for (is_trim, number) in steps {
            let position = Position::genesis(number);
            if is_trim && !trims.is_empty() {
                log_start = trims[number as usize % trims.len()].max(log_start);
            } else if stored.is_before(&position) {
                stored = position;
                trims.push(position.offset());
            }
            prop_assert!(stored.offset() >= log_start, "{} lies below {log_start}", stored.offset());
        }
    }
}
