//! A line when a long step begins, and one with its time when it is done.

use std::time::Instant;

/// A step under way; dropped without `done` it says no more, because the error does.
pub(crate) struct Step {
    name: String,
    since: Instant,
}

impl Step {
    /// Says that `name` runs.
    pub(crate) fn start(name: impl Into<String>) -> Step {
        let name = name.into();
        note!("{name} ...");
        Step { name, since: Instant::now() }
    }

    /// Says how long it took.
    pub(crate) fn done(self) {
        note!("{} ({:.1} s)", self.name, self.since.elapsed().as_secs_f64());
    }
}
