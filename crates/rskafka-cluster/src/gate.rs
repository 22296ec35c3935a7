//! Holds back dials to one address until [`Admission`] lets them begin.

mod admission;

use std::sync::Mutex;

use rskafka_transport::{Endpoint, Env, WithCauses};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use self::admission::{Admission, Step};
use crate::{Backoff, Failure, lock};

#[derive(Debug, Default)]
pub(crate) struct Gate {
    admission: Mutex<Admission>,
    /// Notified of each dial that ends.
    ended: Notify,
}

/// A dial under way. It has ended when this is dropped, also if it was given up.
struct Turn<'a>(&'a Gate);

impl Gate {
    /// What the last dial failed with; `None` after a success.
    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.admission).failure().cloned()
    }

    /// Connects to `endpoint` with `open`, once it may. Cancel safe.
    pub(crate) async fn pass<T>(
        &self,
        endpoint: &Endpoint,
        env: &Env,
        backoff: Backoff,
        open: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let _turn = self.turn(env).await?;
        let opened = open.await;
        match &opened {
            Ok(_) => lock(&self.admission).succeeded(),
            // The end of the client says nothing about the address.
            Err(Failure::Closed | Failure::RuntimeGone) => {}
            Err(failure) => {
                let (now, random) = (env.now(), env.random());
                if lock(&self.admission).failed(failure.clone(), now, backoff, random) {
                    tracing::warn!(broker = %endpoint, failure = %WithCauses(failure), "cannot connect");
                }
            }
        }
        opened
    }

    async fn turn(&self, env: &Env) -> Result<Turn<'_>, Failure> {
        let ticket = lock(&self.admission).ticket();
        loop {
            // Created before the check, so that no end in between is missed.
            let ended = self.ended.notified();
            let step = lock(&self.admission).step(ticket, env.now());
            match step {
                Step::Begin => return Ok(Turn(self)),
                Step::Wait => ended.await,
                Step::WaitUntil(moment) => drop(timeout_at(moment, ended).await),
                Step::Fail(failure) => return Err(failure),
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.admission).ended();
        self.0.ended.notify_waiters();
    }
}
