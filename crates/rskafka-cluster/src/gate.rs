//! The way to one address: lets dials through when [`Admission`] says so.

mod admission;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rskafka_transport::Env;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use self::admission::{Admission, Step};
use crate::{Backoff, Failure};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    admission: Mutex<Admission>,
    /// Told of each dial that ends.
    ended: Notify,
}

/// A dial under way. Dropped before it is told how the dial went, it stands for one that was given up.
struct Turn<'a> {
    gate: &'a Gate,
    is_over: bool,
}

impl Gate {
    /// What the last dial failed with; `None` after a success.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.admission().failure().cloned()
    }

    /// Connects with `open`, once it may. Cancel safe.
    pub(crate) async fn pass<T>(
        &self,
        env: &Env,
        backoff: Backoff,
        open: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut turn = self.turn(env).await?;
        let opened = open.await;
        match &opened {
            Ok(_) => turn.end(Admission::succeeded),
            // The client's own end says nothing about the address.
            Err(Failure::Closed | Failure::RuntimeGone) => {}
            Err(failure) => {
                let (now, random) = (env.now(), env.random());
                turn.end(|admission| admission.failed(failure.clone(), now, backoff, random));
            }
        }
        opened
    }

    async fn turn(&self, env: &Env) -> Result<Turn<'_>, Failure> {
        let ticket = self.admission().ticket();
        loop {
            // Made before the look, so that no end in between is missed.
            let ended = self.ended.notified();
            let step = self.admission().step(ticket, env.now());
            match step {
                Step::Begin => return Ok(Turn { gate: self, is_over: false }),
                Step::Wait => ended.await,
                Step::WaitUntil(moment) => drop(timeout_at(moment, ended).await),
                Step::Fail(failure) => return Err(failure),
            }
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    fn end(&mut self, event: impl FnOnce(&mut Admission)) {
        self.is_over = true;
        event(&mut self.gate.admission());
        self.gate.ended.notify_waiters();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Admission::abandoned);
        }
    }
}
