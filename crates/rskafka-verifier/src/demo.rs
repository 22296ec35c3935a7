//! The demo: a writer appends to a fresh log, a reader tails it, the checker follows both.
//!
//! Invariant: queues are bounded, so memory does not grow with the number of records; whatever ends the
//! demo early ends its tasks.

use std::fmt;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rskafka::client::{Client, OffsetAt};
use rskafka::protocol::ErrorCode;
use rskafka_fake::FakeCluster;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::append::Append;
use crate::checker::{Checker, Event};
use crate::note;
use crate::progress::{Counter, Progress};
use crate::report::{Latencies, Rate, Report};
use crate::tail::Tail;
use crate::tamper::{Tamper, Tampering};
use crate::workload::Workload;

const RECORDS: u64 = 1_000_000;
const PARTITION: i32 = 0;
const EMBEDDED_BROKERS: usize = 3;
const MOST_REPLICAS: i16 = 3;
/// Events between writer, reader and checker; one of the reader's is up to 1 MiB.
const QUEUE: usize = 8;
/// How long to try to reach one of the brokers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CLEAN_UP: Duration = Duration::from_secs(1);

/// What a demo is to do; the command line has all of it.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// `HOST:PORT[,HOST:PORT]`; a cluster of three brokers is embedded if not given.
    #[arg(long, value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// The topic's; 3 if not given, or as many as there are brokers.
    #[arg(long)]
    pub replication_factor: Option<i16>,
    /// How many records.
    #[arg(long, default_value_t = RECORDS)]
    pub records: u64,
    /// Tampers with what is read, to see it found.
    #[arg(long = "break", value_name = "HOW")]
    pub tampering: Option<Tampering>,
    /// Writes topic, partition, number of records and digest of the values there, and keeps the topic.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Whether progress is shown on standard error.
    #[arg(skip = true)]
    pub show_progress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            replication_factor: None,
            records: RECORDS,
            tampering: None,
            report: None,
            show_progress: false,
        }
    }
}

/// The demo was ended before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Runs the demo, until it is done or `interrupted` is ready.
///
/// # Errors
///
/// [`Interrupted`], or what kept it from coming to a verdict. A verdict that is bad is no error here.
pub async fn run(options: Options, interrupted: impl Future<Output = ()>) -> Result<Report> {
    ensure!(options.records > 0, "there is nothing to see without records");
    let mut interrupted = pin!(interrupted);
    let log = or_interrupted(interrupted.as_mut(), Log::create(&options)).await?;
    let result = or_interrupted(interrupted, log.append_and_tail(&options)).await;
    let is_wanted = match &result {
        // A log is not to blame for a view that was tampered with.
        Ok(report) => options.report.is_some() || !(report.is_verified() || report.tampered.is_some()),
        Err(error) => !error.is::<Interrupted>(),
    };
    log.end(is_wanted).await;
    result
}

async fn or_interrupted<T>(
    interrupted: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = interrupted => Err(Interrupted.into()),
        result = work => result,
    }
}

/// A fresh topic with one partition.
struct Log {
    client: Client,
    topic: String,
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
        let builder = Client::builder(bootstrap).client_id("rskafka-demo");
        if embedded.is_none() {
            if options.show_progress {
                note!("connecting to {place}, for at most {} s", CONNECT_TIMEOUT.as_secs());
            }
            // Only tells whether a broker answers: the demo's own calls may take longer than that.
            let answers = builder.clone().api_timeout(CONNECT_TIMEOUT).build().await;
            answers.with_context(|| format!("cannot connect to {place}"))?;
        }
        let client = builder.build().await?;
        let topic = fresh_name();
        let replicas = create_topic(&client, &topic, options.replication_factor).await?;
        if options.show_progress {
            let s = if replicas == 1 { "" } else { "s" };
            note!("topic {topic} with {replicas} replica{s} on {place}");
        }
        Ok(Self { client, topic, embedded })
    }

    async fn append_and_tail(&self, options: &Options) -> Result<Report> {
        let records = i64::try_from(options.records).context("that are too many records")?;
        let workload = Workload::new(OffsetDateTime::now_utc());
        let (appended, read) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let (events, received) = mpsc::channel(QUEUE);
        let (ended, log_end) = watch::channel(None);
        // Two partition clients: the reader shares nothing with the writer.
        let partition = self.client.partition_client(&self.topic, PARTITION).await?;
        let tail = Tail {
            partition: self.client.partition_client(&self.topic, PARTITION).await?,
            tamper: options.tampering.map(|tampering| Tamper::new(tampering, records / 2)),
            events: events.clone(),
            log_end,
            read: read.clone(),
        };
        let append =
            Append { partition: partition.clone(), workload, records, events, appended: appended.clone() };

        let progress = options.show_progress.then(|| Progress::start(options.records, &appended, &read));
        let checking = AbortOnDropHandle::new(tokio::spawn(check(Checker::new(workload, 0), received)));
        let tailing = AbortOnDropHandle::new(tokio::spawn(tail.run()));
        let appending = AbortOnDropHandle::new(tokio::spawn(append.run()));
        let writer = async {
            let outcome = appending.await??;
            let found = partition.get_offset(OffsetAt::Latest).await.context("asking for the log's end")?;
            ended.send_replace(Some(found.offset));
            Ok((outcome, found.offset))
        };
        let reader = async { tailing.await? };
        let ((written, log_end), tailed) = tokio::try_join!(writer, reader)?;
        let verdict = checking.await?.finish(log_end);
        drop(progress);

        let tampered = match (options.tampering, tailed.tampered_at) {
            (Some(how), at) => Some((how, at.with_context(|| format!("there was no occasion to {how}"))?)),
            (None, _) => None,
        };
        Ok(Report {
            topic: self.topic.clone(),
            partition: PARTITION,
            records: options.records,
            digest: written.digest,
            appended: Rate::new(&appended, written.elapsed),
            read: Rate::new(&read, tailed.elapsed),
            latencies: Latencies::of(&written.latencies),
            failure: written.failure.map(|error| format!("{error:?}")),
            tampered,
            verdict,
        })
    }

    /// Leaves nothing behind on a cluster of others, unless somebody will want to look at it.
    async fn end(self, is_wanted: bool) {
        if let Some(cluster) = self.embedded {
            cluster.shutdown().await;
        } else if is_wanted {
            note!("topic {} is left there", self.topic);
        } else if !matches!(
            tokio::time::timeout(CLEAN_UP, self.client.delete_topic(&self.topic)).await,
            Ok(Ok(()))
        ) {
            note!("topic {} could not be deleted in time", self.topic);
        }
    }
}

/// Creates the topic; gives its replication factor.
async fn create_topic(client: &Client, name: &str, wanted: Option<i16>) -> Result<i16> {
    let mut replicas = wanted.unwrap_or(MOST_REPLICAS);
    loop {
        // The digest and the checker rely on these, whatever the cluster's defaults are.
        let topic = client
            .create_topic(name, PARTITION + 1, replicas)
            .config("cleanup.policy", "delete")
            .config("message.timestamp.type", "CreateTime");
        match topic.await {
            Ok(()) => return Ok(replicas),
            Err(error)
                if wanted.is_none()
                    && replicas > 1
                    && error.code() == Some(ErrorCode::INVALID_REPLICATION_FACTOR) =>
            {
                // There are fewer brokers than that.
                replicas -= 1;
            }
            Err(error) => return Err(error).with_context(|| format!("topic {name}")),
        }
    }
}

fn fresh_name() -> String {
    let seconds = OffsetDateTime::now_utc().unix_timestamp();
    format!("rskafka-demo-{seconds}-{:08x}", fastrand::u32(..))
}

async fn check(mut checker: Checker, mut events: mpsc::Receiver<Event>) -> Checker {
    while let Some(event) = events.recv().await {
        checker.event(event);
    }
    checker
}
