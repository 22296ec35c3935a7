//! One line per long step: a spinner while it runs on a terminal, its time when it is done.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

/// A step under way; dropped without `done` it vanishes, because the error says more.
pub(crate) struct Step {
    name: String,
    spinner: ProgressBar,
    since: Instant,
}

impl Step {
    /// Shows that `name` runs.
    pub(crate) fn start(name: impl Into<String>) -> Step {
        let name = name.into();
        let spinner = ProgressBar::new_spinner().with_message(name.clone());
        spinner.enable_steady_tick(Duration::from_millis(100));
        if spinner.is_hidden() {
            note!("{name} ...");
        }
        Step { name, spinner, since: Instant::now() }
    }

    /// Shows how far it is.
    pub(crate) fn at(&self, detail: &str) {
        self.spinner.set_message(format!("{}: {detail}", self.name));
    }

    /// Leaves one line with the time it took.
    pub(crate) fn done(self) {
        self.spinner.finish_and_clear();
        note!("{} ({:.1} s)", self.name, self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}
