//! Chaos: writers and readers on a cluster whose brokers are killed, frozen and restarted, held to the rules of the simulation. Or
//! processes that take an exclusive log from each other, and are frozen and killed themselves.
//!
//! Whoever runs the brokers is their [`Operator`]. Clients reach them through proxies, which break connections; a bare
//! probe beside them sees how long there is no leader.
//!
//! Invariant: the plan follows from the seed alone. One broker at most is away, so that what was acknowledged by two of three replicas
//! is never lost by the cluster.

pub(crate) mod director;
mod operator;
mod plan;
pub(crate) mod raw;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rskafka::client::Client;

pub use self::operator::{Operator, Order, Parent, Way};
pub use self::plan::{EVERY, Fault, Planned, of_seed};
pub use self::report::{Event, Report};
use crate::demo::{DELIVERY_TIMEOUT, fresh_name, new_topic};
use crate::progress;
use crate::sim::Live;
use crate::sim::live::Stage;
use crate::sim::live::duel::Duel;

const PARTITIONS: usize = 4;
/// That claim one log.
const PROCESSES: u32 = 3;
const REPLICAS: i16 = 3;
/// How often it is shown how much is done.
const LOOK: Duration = Duration::from_secs(5);

/// A run; the command line has all of it but the last.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// The file of `key=value` lines that tells where the brokers are.
    #[arg(long)]
    pub environment: PathBuf,
    /// The faults and their moments follow from it.
    #[arg(long)]
    pub seed: u64,
    /// How long there are faults.
    #[arg(long)]
    pub seconds: u64,
    /// How often a leader goes away.
    #[arg(skip = EVERY)]
    pub every: Duration,
    /// Who writes.
    #[arg(long, default_value = "writers")]
    pub profile: Profile,
    /// The verifier, where it is not the program that runs.
    #[arg(skip)]
    pub program: Option<PathBuf>,
}

/// Who writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// A writer of each partition.
    #[default]
    Writers,
    /// Processes that take an exclusive log from each other.
    Claimants,
}

/// Writes and reads while the plan is carried out, and reads all once more in the end.
///
/// # Errors
///
/// What kept it from a verdict: a cluster that does not recover, for example. A bad verdict is no error here.
pub async fn run(options: Options, way: Way, operator: impl Operator) -> Result<Report> {
    let bootstrap: Vec<_> = way.proxies.iter().map(|proxy| proxy.address().to_string()).collect();
    let builder = Client::builder(bootstrap.clone()).client_id("rskafka-chaos");
    let client = builder.clone().build().await.context("the cluster cannot be reached")?;
    let topic = fresh_name("chaos");
    let is_exclusive = options.profile == Profile::Claimants;
    let partitions = if is_exclusive { 1 } else { PARTITIONS };
    let created = new_topic(&client, &topic, partitions as i32, REPLICAS).config("min.insync.replicas", "2");
    created.await.with_context(|| format!("topic {topic}"))?;

    let (seed, duration) = (options.seed, Duration::from_secs(options.seconds));
    let directing = async |stage: &Stage| {
        tokio::select! {
            events = director::run((&client, stage), &way, operator, &options) => events,
            never = progress::show(stage, LOOK) => match never {},
        }
    };
    let report = if is_exclusive {
        let program = options.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let duel = Duel {
            client: builder,
            bootstrap,
            topic: topic.clone(),
            program,
            processes: PROCESSES,
            longest_freeze: options.every,
            seed,
        };
        let (outcome, claims, events) = duel.run_while(directing).await?;
        Report { events, outcome, claims: Some(claims) }
    } else {
        let live = Live { client: builder, topic: topic.clone(), partitions, duration, seed };
        let (outcome, events) = live.run_while(DELIVERY_TIMEOUT, directing).await?;
        Report { events, outcome, claims: None }
    };
    client.close().await;
    Ok(report)
}
