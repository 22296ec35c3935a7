//! Timestamps: `OffsetDateTime` here, milliseconds since the epoch in Kafka.
//!
//! A timestamp that the other form cannot hold becomes the nearest one that it can, so that a record with any timestamp
//! can be read.

use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime};

// Without 128-bit nanoseconds, whose division shows in fetches of small records.

pub(crate) fn to_millis(time: OffsetDateTime) -> i64 {
    // The years that `OffsetDateTime` holds are within i64 milliseconds.
    time.unix_timestamp() * 1_000 + i64::from(time.millisecond())
}

pub(crate) fn from_millis(millis: i64) -> OffsetDateTime {
    FromMillis::new().convert(millis)
}

/// Converts timestamps that lie close together, as those of a batch do: the date is computed once for each second.
#[derive(Debug)]
pub(crate) struct FromMillis {
    second: i64,
    /// `None` where `OffsetDateTime` cannot hold it.
    start: Option<OffsetDateTime>,
}

impl FromMillis {
    pub(crate) fn new() -> Self {
        Self { second: 0, start: Some(OffsetDateTime::UNIX_EPOCH) }
    }

    #[inline]
    pub(crate) fn convert(&mut self, millis: i64) -> OffsetDateTime {
        let second = millis.div_euclid(1_000);
        if second != self.second {
            *self = Self { second, start: OffsetDateTime::from_unix_timestamp(second).ok() };
        }
        let rest = millis.rem_euclid(1_000) as u16;
        let time = self.start.and_then(|start| start.replace_millisecond(rest).ok());
        let end = if millis < 0 { PrimitiveDateTime::MIN } else { PrimitiveDateTime::MAX };
        time.unwrap_or(end.assume_utc())
    }
}

/// A duration in milliseconds, as requests have it.
pub(crate) fn to_i32_millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A timestamp in an answer, where -1 means none.
pub(crate) fn from_millis_if_any(millis: i64) -> Option<OffsetDateTime> {
    (millis >= 0).then(|| from_millis(millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_of_a_millisecond_are_cut_off_towards_the_past() {
        let moment = |nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap();
        let millis =
            [-1_000_001, -1_000_000, -1, 0, 999_999, 1_000_000].map(|nanos| to_millis(moment(nanos)));
        assert_eq!(millis, [-2, -1, -1, 0, 0, 1]);
    }

    #[test]
    fn timestamps_beyond_the_calendar_are_its_ends() {
        assert_eq!(from_millis(i64::MIN), PrimitiveDateTime::MIN.assume_utc());
        assert_eq!(from_millis(i64::MAX), PrimitiveDateTime::MAX.assume_utc());
    }

    #[test]
    fn only_negative_timestamps_of_answers_are_none() {
        assert_eq!(from_millis_if_any(-1), None);
        assert_eq!(from_millis_if_any(0), Some(OffsetDateTime::UNIX_EPOCH));
    }

    proptest! {
        #[test]
        fn milliseconds_survive(millis in -60_000_000_000_000i64..200_000_000_000_000) {
            prop_assert_eq!(to_millis(from_millis(millis)), millis);
        }

        #[test]
        fn any_timestamp_is_read_and_those_close_together_are_read_alike(
            millis: i64,
            steps in prop::collection::vec(-1_500i64..1_500, 0..8),
        ) {
            let mut converter = FromMillis::new();
            for step in steps {
                let close = millis.saturating_add(step);
                prop_assert_eq!(converter.convert(close), from_millis(close));
                let likely = close % 200_000_000_000_000;
                prop_assert_eq!(converter.convert(likely), from_millis(likely));
                prop_assert_eq!(converter.convert(likely), from_millis(likely));
            }
        }
    }
}
