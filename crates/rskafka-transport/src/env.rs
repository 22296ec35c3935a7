//! The sources of all that is not deterministic: clocks, random numbers, name resolution, connections.
//!
//! Invariant: with a connector, a wall clock and a seed of its own, an [`Env`] behaves the same in each run
//! on paused time.

use std::sync::{Arc, Mutex};

use derive_more::Debug;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::dial::{Connector, Dialer, Resolver, resolve};
use crate::lock;

type WallClock = Box<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The source of all that differs from run to run. Clones are the same source.
#[derive(Clone, Debug)]
#[debug("Env")]
pub struct Env {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Dialer,
    wall_clock: WallClock,
    random: Mutex<fastrand::Rng>,
    /// Whether the random numbers are a fixed sequence.
    #[cfg(feature = "sasl")]
    is_seeded: bool,
}

impl Env {
    /// The operating system's clock, resolver, TCP and random numbers.
    pub fn system() -> Self {
        Self::builder().build()
    }

    /// [`Env::system`], with parts to be replaced.
    pub fn builder() -> EnvBuilder {
        let inner = Inner {
            dialer: Dialer::Tcp(Box::new(resolve)),
            wall_clock: Box::new(OffsetDateTime::now_utc),
            random: Mutex::new(fastrand::Rng::new()),
            #[cfg(feature = "sasl")]
            is_seeded: false,
        };
        EnvBuilder { inner }
    }

    /// The monotonic time, by tokio's clock, so that paused time works.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day. It may step, so nothing waits by it.
    pub fn wall_clock(&self) -> OffsetDateTime {
        (self.inner.wall_clock)()
    }

    /// A random number, for spreading load and backoff; not for secrets.
    pub fn random(&self) -> u64 {
        lock(&self.inner.random).u64(..)
    }

    /// A text that nobody can guess and that was never used before, unless the numbers are seeded.
    #[cfg(feature = "sasl")]
    pub(crate) fn nonce(&self) -> std::io::Result<String> {
        let mut bits = [self.random(), self.random()];
        if !self.inner.is_seeded {
            bits = [getrandom::u64()?, getrandom::u64()?];
        }
        Ok(format!("{:016x}{:016x}", bits[0], bits[1]))
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }
}

/// Makes an [`Env`]; see [`Env::builder`].
#[derive(Debug)]
#[debug("EnvBuilder")]
#[must_use = "there is no environment until this is built"]
pub struct EnvBuilder {
    inner: Inner,
}

impl EnvBuilder {
    /// Makes the connections, instead of resolver and TCP.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.inner.dialer = Dialer::Custom(Box::new(connector));
        self
    }

    /// Finds the addresses of a name. Not used with a [`connector`](Self::connector), which gets the name.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        if let Dialer::Tcp(current) = &mut self.inner.dialer {
            *current = Box::new(resolver);
        }
        self
    }

    /// Tells the time of day.
    pub fn wall_clock(mut self, clock: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        self.inner.wall_clock = Box::new(clock);
        self
    }

    /// Makes the random numbers a fixed sequence, the nonces of SCRAM among them: for tests only.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.inner.random = Mutex::new(fastrand::Rng::with_seed(seed));
        #[cfg(feature = "sasl")]
        {
            self.inner.is_seeded = true;
        }
        self
    }

    /// The environment.
    pub fn build(self) -> Env {
        Env { inner: Arc::new(self.inner) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_each_time() {
        let numbers = || {
            let env = Env::builder().random_seed(7).build();
            [env.random(), env.clone().random(), env.random()]
        };
        assert_eq!(numbers(), numbers());
        assert_ne!(numbers()[0], numbers()[1]);
    }

    #[test]
    fn the_wall_clock_can_be_replaced() {
        let env = Env::builder().wall_clock(|| OffsetDateTime::UNIX_EPOCH).build();
        assert_eq!(env.wall_clock(), OffsetDateTime::UNIX_EPOCH);
    }
}
