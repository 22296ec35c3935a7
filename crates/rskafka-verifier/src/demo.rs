//! The demo: a writer appends to a fresh log, a reader tails it, and both are held to the rules of the simulation. Then two processes
//! take an exclusive log from each other.
//!
//! Invariant: memory grows by less than 64 bytes for each record, which the rules keep; when the demo ends early, so do its
//! tasks.

mod faults;

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rskafka::client::error::Error;
use rskafka::client::{Client, ClientBuilder, CreateTopic};
use rskafka::protocol::ErrorCode;
use rskafka_fake::FakeCluster;
use sha2::Digest as _;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use self::faults::{Embedded, Faults};
use crate::chaos::{self, Event, Operator, Parent, Way, director};
use crate::note;
use crate::progress;
use crate::report::{Rate, Report, percentiles};
use crate::sim::live::duel::Duel;
use crate::sim::live::{Followed, Load, Stage};
use crate::sim::rules::Findings;

const RECORDS: u32 = 1_000_000;
const PARTITION: i32 = 0;
const EMBEDDED_BROKERS: usize = 3;
const MOST_REPLICAS: i16 = 3;
/// How long to try to reach one of the brokers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The client's default, to which the produce calls are held.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
const CLEAN_UP: Duration = Duration::from_secs(1);
/// That claim the exclusive log.
const CLAIMANTS: u32 = 2;
/// How often a leader goes away while they do.
const EVERY: Duration = Duration::from_secs(4);
/// How often it is shown how much is done.
const LOOK: Duration = Duration::from_secs(1);

/// What a demo is to do; the command line has all of it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// `HOST:PORT[,HOST:PORT]`; a cluster of three brokers is embedded if not given.
    #[arg(long, value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// The topic's; 3 if not given, or as many as there are brokers.
    #[arg(long)]
    pub replication_factor: Option<i16>,
    /// How many records.
    #[arg(long, default_value_t = RECORDS)]
    pub records: u32,
    /// Writes topic, partition, number of records and digest of the values there, and keeps the topic.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Leaders are frozen, elected and killed meanwhile. Only the process that started the brokers can do that: it is asked by
    /// lines on standard output, and answers on standard input. On the embedded cluster it always happens.
    #[arg(long)]
    pub faults: bool,
    /// For how long two processes take an exclusive log from each other afterwards.
    #[arg(long, default_value_t = 15)]
    pub exclusive_seconds: u64,
    /// Whether progress is shown on standard error.
    #[arg(skip = true)]
    pub show_progress: bool,
    /// The verifier, where it is not the program that runs.
    #[arg(skip)]
    pub program: Option<PathBuf>,
}

/// Runs the demo until it is done, or `interrupted` is ready: then there is no report.
///
/// # Errors
///
/// What kept it from a verdict. A bad verdict is no error here.
pub async fn run(options: Options, interrupted: impl Future<Output = ()>) -> Result<Option<Report>> {
    ensure!(options.records > 0, "there is nothing to see without records");
    let mut interrupted = pin!(interrupted);
    let Some(log) = unless_interrupted(interrupted.as_mut(), Log::create(&options)).await? else {
        return Ok(None);
    };
    let both_acts = async {
        let mut report = log.append_and_tail(&options).await?;
        if options.exclusive_seconds > 0 && report.is_verified() {
            report.exclusive = Some(log.take_from_each_other(&options).await?);
        }
        Ok(report)
    };
    let result = unless_interrupted(interrupted, both_acts).await;
    let is_wanted = match &result {
        Ok(Some(report)) => options.report.is_some() || !report.is_verified(),
        Ok(None) => false,
        Err(_) => true,
    };
    log.end(is_wanted).await;
    result
}

async fn unless_interrupted<T>(
    interrupted: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        biased;
        () = interrupted => Ok(None),
        result = work => result.map(Some),
    }
}

/// A fresh topic with one partition.
struct Log {
    builder: ClientBuilder,
    client: Client,
    topic: String,
    brokers: Vec<String>,
    /// Ends with this.
    embedded: Option<FakeCluster>,
}

impl Log {
    async fn create(options: &Options) -> Result<Self> {
        let (bootstrap, embedded) = match options.bootstrap.is_empty() {
            false => (options.bootstrap.clone(), None),
            true => {
                let cluster = FakeCluster::builder().brokers(EMBEDDED_BROKERS).start().await;
                let cluster = cluster.context("the embedded cluster does not start")?;
                (cluster.bootstrap_servers(), Some(cluster))
            }
        };
        let place = if embedded.is_some() { "an embedded cluster at " } else { "" };
        let place = format!("{place}{}", bootstrap.join(", "));
        let builder = Client::builder(bootstrap.clone()).client_id("rskafka-demo");
        if embedded.is_none() {
            if options.show_progress {
                note!("connecting to {place}, for at most {} s", CONNECT_TIMEOUT.as_secs());
            }
            // Only tells whether a broker answers: the demo's own calls may take longer than that.
            let answers = builder.clone().api_timeout(CONNECT_TIMEOUT).build().await;
            answers.with_context(|| format!("cannot connect to {place}"))?;
        }
        let client = builder.clone().build().await?;
        let topic = fresh_name("demo");
        let replicas = create_topic(&client, &topic, options.replication_factor).await?;
        if options.show_progress {
            let s = if replicas == 1 { "" } else { "s" };
            note!("topic {topic} with {replicas} replica{s} on {place}");
        }
        Ok(Self { builder, client, topic, brokers: bootstrap, embedded })
    }

    async fn append_and_tail(&self, options: &Options) -> Result<Report> {
        let load = Load { records: options.records, timeout: DELIVERY_TIMEOUT, is_rough: false };
        let stage = Stage::new(self.topic.clone(), 1, load);
        let tell = |line: &str| {
            if options.show_progress {
                note!("{line}");
            }
        };
        let (failed, has_failed) = oneshot::channel();
        let following = async {
            let followed = stage.write_and_follow(&self.client, 0).await?;
            if followed.iter().any(|followed| followed.failure.is_some()) {
                let _ = failed.send(());
            }
            Ok(followed)
        };
        let striking = async {
            tokio::select! { biased;
                Ok(()) = has_failed => Ok(0),
                struck = self.strike(options, &stage, &tell) => struck,
            }
        };
        let both = async { tokio::try_join!(following, striking) };
        let (followed, faults) = tokio::select! {
            both = both => both?,
            never = progress::show(&stage, LOOK), if options.show_progress => match never {},
        };
        let Followed { digest, latencies, elapsed: [written, read], failure } =
            followed.into_iter().next().unwrap_or_default();
        let Findings { kept, counts } = stage.finish().next().unwrap_or_default();
        Ok(Report {
            topic: self.topic.clone(),
            partition: PARTITION,
            records: options.records.into(),
            digest: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            appended: Rate::new(&stage.appended, written),
            read: Rate::new(&stage.read, read),
            latencies: percentiles(&latencies),
            faults,
            failure: failure.map(|error| format!("{error:?}")),
            findings: kept,
            counts,
            exclusive: None,
        })
    }

    /// Two processes claim a log of its own and append to it; they are frozen and killed, and so are the leaders where somebody can do
    /// that.
    async fn take_from_each_other(&self, options: &Options) -> Result<chaos::Report> {
        let topic = format!("{}-exclusive", self.topic);
        create_topic(&self.client, &topic, options.replication_factor).await?;
        if options.show_progress {
            note!("topic {topic}: {CLAIMANTS} processes take it from each other");
        }
        let duel = Duel {
            client: self.builder.clone(),
            bootstrap: self.brokers.clone(),
            topic: topic.clone(),
            program: options.program.clone().map_or_else(std::env::current_exe, Ok)?,
            processes: CLAIMANTS,
            longest_freeze: EVERY,
            seed: 0,
        };
        let struck = async |stage: &Stage| match &self.embedded {
            Some(cluster) => self.strike_leaders(stage, options, Embedded { cluster, topic: &topic }).await,
            None if options.faults => self.strike_leaders(stage, options, Parent).await,
            None => {
                tokio::time::sleep(Duration::from_secs(options.exclusive_seconds)).await;
                Ok(Vec::new())
            }
        };
        let (outcome, claims, events) = duel.run_while(struck).await?;
        let report = chaos::Report { events, outcome, claims: Some(claims) };
        if self.embedded.is_none() && report.is_verified() {
            delete_topic(&self.client, &topic).await;
        }
        Ok(report)
    }

    async fn strike_leaders(
        &self,
        stage: &Stage,
        options: &Options,
        by: impl Operator,
    ) -> Result<Vec<Event>> {
        let way = Way { brokers: self.brokers.clone(), proxies: Vec::new() };
        let options =
            chaos::Options { seconds: options.exclusive_seconds, every: EVERY, ..Default::default() };
        director::run((&self.client, stage), &way, by, &options).await
    }

    /// Has faults strike where somebody can cause them. Gives how many did while records were appended.
    async fn strike(&self, options: &Options, stage: &Stage, tell: &dyn Fn(&str)) -> Result<usize> {
        let (topic, brokers, records) = (&*self.topic, &*self.brokers, options.records);
        let faults = Faults { stage, topic, brokers, records, tell };
        match &self.embedded {
            Some(cluster) => faults.strike(Embedded { cluster, topic }).await,
            None if options.faults => faults.strike(Parent).await,
            None => Ok(0),
        }
    }

    /// Deletes the topic on a cluster that is not embedded, unless somebody may want to look at it.
    async fn end(self, is_wanted: bool) {
        if let Some(cluster) = self.embedded {
            cluster.shutdown().await;
        } else if is_wanted {
            note!("topic {} is left there", self.topic);
        } else {
            delete_topic(&self.client, &self.topic).await;
        }
    }
}

async fn delete_topic(client: &Client, topic: &str) {
    if !matches!(tokio::time::timeout(CLEAN_UP, client.delete_topic(topic)).await, Ok(Ok(()))) {
        note!("topic {topic} could not be deleted in time");
    }
}

/// Creates the topic; gives its replication factor.
async fn create_topic(client: &Client, name: &str, wanted: Option<i16>) -> Result<i16> {
    let (mut replicas, least) = (wanted.unwrap_or(MOST_REPLICAS), wanted.unwrap_or(1));
    let are_too_many = |error: &Error| error.code() == Some(ErrorCode::INVALID_REPLICATION_FACTOR);
    loop {
        match new_topic(client, name, PARTITION + 1, replicas).await {
            Err(error) if replicas > least && are_too_many(&error) => replicas -= 1,
            created => return created.map(|()| replicas).with_context(|| format!("topic {name}")),
        }
    }
}

/// A topic that the digest and the rules can rely on; the cluster's defaults may differ.
pub(crate) fn new_topic(client: &Client, name: &str, partitions: i32, replicas: i16) -> CreateTopic {
    let topic = client.create_topic(name, partitions, replicas).config("cleanup.policy", "delete");
    topic.config("message.timestamp.type", "CreateTime")
}

/// A topic's name that no other run has.
pub(crate) fn fresh_name(purpose: &str) -> String {
    let seconds = OffsetDateTime::now_utc().unix_timestamp();
    format!("rskafka-{purpose}-{seconds}-{:08x}", fastrand::u32(..))
}
