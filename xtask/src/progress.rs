//! One line per long step: a spinner while it runs on a terminal, its time when it is done.
//!
//! Invariant: one spinner at a time. A step that begins within another is shown as a detail of it.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The name and spinner of the step under way.
static CURRENT: Mutex<Option<(String, ProgressBar)>> = Mutex::new(None);

fn current() -> MutexGuard<'static, Option<(String, ProgressBar)>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how far the step under way is.
pub(crate) fn show(detail: &str) {
    if let Some((name, spinner)) = &*current() {
        spinner.set_message(format!("{name}: {detail}"));
    }
}

/// Whether what is shown can be taken back.
pub(crate) fn is_on_terminal() -> bool {
    stderr().is_terminal()
}

/// A step under way; dropped without `done` it vanishes, because the error says more.
pub(crate) struct Step {
    name: String,
    is_outermost: bool,
    since: Instant,
}

impl Step {
    /// Shows that `name` runs.
    pub(crate) fn start(name: impl Into<String>) -> Step {
        let step = Step::quiet(name);
        if step.is_outermost && !is_on_terminal() {
            note!("{} ...", step.name);
        }
        step
    }

    /// The same, but without a terminal it says nothing before it is done.
    pub(crate) fn quiet(name: impl Into<String>) -> Step {
        let name = name.into();
        let mut current = current();
        let is_outermost = current.is_none();
        if is_outermost {
            let spinner = ProgressBar::new_spinner().with_message(name.clone());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            *current = Some((name.clone(), spinner));
        }
        drop(current);
        let step = Step { name, is_outermost, since: Instant::now() };
        if !is_outermost {
            show(&step.name);
        }
        step
    }

    /// Shows how far it is.
    pub(crate) fn at(&self, detail: &str) {
        if self.is_outermost { show(detail) } else { show(&format!("{}: {detail}", self.name)) }
    }

    /// Leaves one line with the time it took.
    pub(crate) fn done(self) {
        let (name, took, is_outermost) = (self.name.clone(), self.since.elapsed(), self.is_outermost);
        drop(self);
        if is_outermost {
            note!("{name} ({:.1} s)", took.as_secs_f64());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.is_outermost
            && let Some((_, spinner)) = current().take()
        {
            spinner.finish_and_clear();
        }
    }
}
