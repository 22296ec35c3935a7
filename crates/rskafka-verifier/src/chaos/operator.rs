//! Who can do to brokers what their clients cannot, and the ways to them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::raw;
use crate::proxy::Proxy;
use crate::say;

/// What a broker's process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// End at once: SIGKILL.
    Kill,
    /// End in an orderly way: SIGTERM, until the process is gone.
    ShutDown,
    /// Start again, with the same data.
    Start,
    /// Stand still: SIGSTOP.
    Freeze,
    /// Go on: SIGCONT.
    Thaw,
}

/// Runs the brokers of a cluster, whose ids count from 1.
#[expect(async_fn_in_trait, reason = "its futures are awaited where they are made")]
pub trait Operator {
    /// Has something happen to a broker.
    async fn order(&mut self, order: Order, broker: i32) -> Result<()>;

    /// Has the first replica of each partition elected.
    async fn elect(&mut self, brokers: &[String], topic: &str, partitions: usize) -> Result<()> {
        // Before KRaft only the controller does it, and may need longer than anybody waits after other faults.
        let mut failure = None;
        for broker in brokers {
            failure = raw::elect(broker, topic, partitions).await.err().or(failure);
        }
        failure.iter().for_each(|failure| say!("an election is not known to have taken place: {failure:#}"));
        Ok(())
    }
}

/// The ways to the brokers, in the order of their ids.
#[derive(Debug)]
pub struct Way {
    /// Where each listens.
    pub brokers: Vec<String>,
    /// What each tells clients to connect to.
    pub proxies: Vec<Proxy>,
}

impl Way {
    /// To the brokers that an environment's file describes.
    ///
    /// # Errors
    ///
    /// The file cannot be read or lacks a line, or an address that is advertised for a proxy is taken.
    pub async fn of_environment(file: &Path) -> Result<Self> {
        let lines = std::fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
        let list = |key: &str| {
            let mut facts = lines.lines().filter_map(|line| line.split_once('='));
            let fact = facts.find(|(name, _)| *name == key).with_context(|| format!("no {key:?} in it"))?;
            anyhow::Ok(fact.1.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        let mut proxies = Vec::new();
        for (advertised, target) in list("advertised.PROXY")?.iter().zip(list("listener.PROXY")?) {
            proxies.push(Proxy::listen(advertised.parse()?, target).await.context("no proxy")?);
        }
        Ok(Self { brokers: list("listener.PLAINTEXT")?, proxies })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = i32> + Clone + use<> {
        1..=self.brokers.len() as i32
    }

    pub(super) fn broker(&self, id: i32) -> &str {
        &self.brokers[id as usize - 1]
    }
}

/// The process that started this one and the brokers. It is asked by lines on standard output, `order: Kill 2`, and answers each with a
/// line on standard input: `done`, or what went wrong.
#[derive(Debug)]
pub struct Parent;

impl Operator for Parent {
    async fn order(&mut self, order: Order, broker: i32) -> Result<()> {
        say!("order: {order:?} {broker}");
        let answer = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
        let answer = answer.await?.context("nobody answers")??;
        ensure!(answer == "done", "{order:?} {broker}: {answer}");
        Ok(())
    }
}
