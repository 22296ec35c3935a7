//! The way to one address: who may try to connect to it, and when (Java: `reconnect.backoff.ms`).
//!
//! Invariant: while attempts fail, one is made at a time and none before its pause is over, whatever
//! number of lanes wants to; all that waited for it meanwhile get its failure.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rskafka_transport::Deadline;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{Cluster, Failure};

/// How many connections to one address may be made at once. Enough that handshakes overlap; few enough
/// that a broker that comes back is not overrun, and that a dead one is found by a few.
const AT_ONCE: u32 = 8;

#[derive(Debug)]
pub(crate) struct Gate {
    turns: Semaphore,
    /// Held by the one that may try while attempts fail.
    alone: tokio::sync::Mutex<()>,
    attempts: Mutex<Attempts>,
}

/// How attempts to connect have gone.
#[derive(Debug, Default)]
struct Attempts {
    failed_in_a_row: u32,
    /// When the next one may begin, after a failure.
    not_before: Option<Instant>,
    /// What the last one failed with.
    last: Option<Failure>,
    /// How many have failed so far.
    failed: u64,
}

impl Default for Gate {
    fn default() -> Self {
        let turns = Semaphore::new(AT_ONCE as usize);
        Self { turns, alone: tokio::sync::Mutex::default(), attempts: Mutex::default() }
    }
}

/// Leave to connect.
struct Turn<'a> {
    _alone: Option<tokio::sync::MutexGuard<'a, ()>>,
    _permits: SemaphorePermit<'a>,
}

impl Gate {
    /// Whether the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.attempts().last.is_some()
    }

    /// Connects with `open`, once it may. Cancel safe.
    pub(crate) async fn pass<T>(
        &self,
        cluster: &Cluster,
        deadline: Deadline,
        open: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let failed_before = self.attempts().failed;
        let Ok(turn) = timeout_at(deadline.instant(), self.turn()).await else {
            return Err(self.attempts().last.clone().unwrap_or(Failure::Waited));
        };
        let _turn = turn?;
        let (failed, not_before, last) = {
            let attempts = self.attempts();
            (attempts.failed, attempts.not_before, attempts.last.clone())
        };
        let env = cluster.env();
        if let (Some(last), Some(not_before)) = (last, not_before) {
            // Somebody has tried while this one waited; or there is no time for a try.
            if failed != failed_before || deadline.is_over(not_before) {
                return Err(last);
            }
            sleep_until(not_before).await;
        }
        let started = env.now();
        let failure = match open.await {
            Ok(opened) => {
                let mut attempts = self.attempts();
                *attempts = Attempts { failed: attempts.failed, ..Attempts::default() };
                return Ok(opened);
            }
            Err(failure) => failure,
        };
        let mut attempts = self.attempts();
        // Cut short by the caller's deadline: this says nothing about the address, so keep the earlier failure.
        if failure.is_timeout() && env.now() - started < cluster.config().connection.connect_timeout {
            return Err(attempts.last.clone().unwrap_or(failure));
        }
        if !matches!(failure, Failure::Closed | Failure::RuntimeGone) {
            attempts.failed += 1;
            attempts.failed_in_a_row = attempts.failed_in_a_row.saturating_add(1);
            let pause = cluster.config().reconnect_backoff.pause(attempts.failed_in_a_row, env.random());
            attempts.not_before = Some(Deadline::after(env.now(), pause).instant());
            attempts.last = Some(failure.clone());
        }
        Err(failure)
    }

    /// A turn among others; alone, while attempts fail.
    async fn turn(&self) -> Result<Turn<'_>, Failure> {
        // The semaphore is never closed.
        let closed = |_| Failure::Closed;
        if self.is_failing() {
            let alone = self.alone.lock().await;
            // Those that waited for their turn alone go side by side once the address works.
            if self.is_failing() {
                let mut permits = self.turns.acquire_many(AT_ONCE).await.map_err(closed)?;
                if self.is_failing() {
                    return Ok(Turn { _alone: Some(alone), _permits: permits });
                }
                drop(permits.split(AT_ONCE as usize - 1));
                return Ok(Turn { _alone: None, _permits: permits });
            }
        }
        let permit = self.turns.acquire().await.map_err(closed)?;
        Ok(Turn { _alone: None, _permits: permit })
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
