//! The rules of all partitions, to which actors tell what they do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::rules::{Rules, Wrong};

#[derive(Debug)]
pub(crate) struct Book {
    partitions: Vec<Mutex<Rules>>,
    /// How late a call may return.
    slack: Duration,
}

impl Book {
    pub(super) fn new(partitions: usize, slack: Duration) -> Self {
        Self { partitions: (0..partitions).map(|_| Mutex::default()).collect(), slack }
    }

    /// The rules of a partition.
    pub(super) fn rules(&self, partition: usize) -> MutexGuard<'_, Rules> {
        self.partitions[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Holds a call against its deadline.
    pub(super) async fn timed<T>(
        &self,
        partition: usize,
        what: &str,
        limit: Duration,
        call: impl Future<Output = T>,
    ) -> T {
        let since = Instant::now();
        let result = call.await;
        let took = since.elapsed();
        if took > limit + self.slack {
            let what = format!("{what} took {took:?}, its limit is {limit:?}");
            self.rules(partition).add(Wrong::Overdue, what);
        }
        result
    }

    /// What was noted of each partition.
    pub(super) fn close(&self) -> impl Iterator<Item = Rules> {
        (0..self.partitions()).map(|partition| std::mem::take(&mut *self.rules(partition)))
    }
}
