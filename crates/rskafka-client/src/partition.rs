//! The client of one partition.
//!
//! Invariant: produce and fetch have a connection each, so that a long poll never delays an append.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rskafka_cluster::{Error as ClusterError, Failure, Lane, Place};
use rskafka_protocol::{ApiKey, Uuid};

use crate::client::Client;
use crate::error::{Error, Outcome, Result};
use crate::fetch::Fetch;
use crate::line::Line;
use crate::offsets::{self, FoundOffset, OffsetAt};
use crate::produce::{Append, Produce};
use crate::read;
use crate::record::{Payload, Record, RecordAndOffset, RecordHeaders};
use crate::topics::invalid;

/// The last version of Produce and Fetch that names topics; the later ones need a topic id, which not
/// every broker that speaks them gives.
pub(crate) const LAST_VERSION_BY_NAME: i16 = 12;

/// Who must hold a batch before an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acks {
    /// All replicas in sync: what is acknowledged survives the loss of all but one of them.
    #[default]
    All,
    /// The leader alone: what is acknowledged is lost with the leader.
    Leader,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
        }
    }
}

/// A client of one partition. Clones are the same writer: their calls share one line.
///
/// A second client of the same partition is a second writer, unordered beside the first.
#[derive(Debug, Clone)]
pub struct PartitionClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
    pub(crate) acks: Acks,
    pub(crate) produce_lane: Lane,
    pub(crate) fetch_lane: Lane,
    line: Mutex<Line<Append>>,
}

impl Inner {
    pub(crate) fn line(&self) -> MutexGuard<'_, Line<Append>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn located(&self, error: Error, api: ApiKey) -> Error {
        error.with_api(api).with_place(&self.topic, self.index)
    }
}

impl PartitionClient {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// The partition's index.
    pub fn partition(&self) -> i32 {
        self.inner.index
    }

    /// Appends records as one batch: all of them, in order, at consecutive offsets, or none.
    ///
    /// The batch takes its place in line when this is called, before the future is first polled: calls on
    /// one client are appended in the order in which they were made. It is sent again only while it
    /// surely was not written; any other failure is reported.
    ///
    /// # Errors
    ///
    /// [`Error::outcome`] tells whether the records may be in the log. [`ErrorKind`] `InvalidArgument`
    /// without records, or for more than fit into one batch.
    ///
    /// [`ErrorKind`]: crate::errors::ErrorKind
    pub fn produce<K: Payload, V: Payload, H: RecordHeaders>(
        &self,
        records: impl IntoIterator<Item = Record<K, V, H>>,
    ) -> Produce {
        Produce::new(&self.inner, records)
    }

    /// Reads from `offset` on, and tells where to read on from. Options chain before `.await`.
    ///
    /// This is how to read a log up to a given end: what takes up offsets without being a record, such as
    /// a transaction's marker, moves [`Fetched::next_offset`] on, also at the log's end.
    ///
    /// ```no_run
    /// # async fn example(log: rskafka_client::api::PartitionClient) -> rskafka_client::errors::Result<()> {
    /// # use rskafka_client::api::OffsetAt;
    /// let end = log.get_offset(OffsetAt::Latest).await?.offset;
    /// let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    /// while next < end {
    ///     let fetched = log.fetch(next).max_bytes(4 << 20).await?;
    ///     next = fetched.next_offset();
    ///     for read in fetched.into_records() {
    ///         println!("{}: {:?}", read.offset, read.record.value);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Records of aborted transactions, and of those that are not decided yet, are given like all others.
    ///
    /// [`Fetched::next_offset`]: crate::api::Fetched::next_offset
    pub fn fetch(&self, offset: i64) -> Fetch {
        Fetch::new(self.inner.clone(), offset)
    }

    /// Reads records from `offset` on, in order, without gaps; gives them with the high watermark, the
    /// offset after the last record that all replicas in sync hold.
    ///
    /// Waits up to `max_wait_ms` for `bytes.start` bytes and then gives what there is, perhaps nothing.
    /// At most about `bytes.end` bytes are read, but always a whole batch: also one that is larger.
    /// Cancel safe.
    ///
    /// Within its wait it goes on over offsets without records, such as transaction markers. It does not say
    /// how far it got, so a loop that ends at a given offset needs [`fetch`](Self::fetch): with this call it
    /// would never end where the log's last offset has no record. Records of aborted transactions, and of
    /// those that are not decided yet, are given like all others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OffsetOutOfRange`] with the log's bounds, [`ErrorKind::CorruptBatch`] and others.
    ///
    /// [`ErrorKind::OffsetOutOfRange`]: crate::errors::ErrorKind::OffsetOutOfRange
    /// [`ErrorKind::CorruptBatch`]: crate::errors::ErrorKind::CorruptBatch
    pub async fn fetch_records(
        &self,
        offset: i64,
        bytes: Range<i32>,
        max_wait_ms: i32,
    ) -> Result<(Vec<RecordAndOffset>, i64)> {
        let fetched = read::fetch_records(&self.inner, offset, bytes, max_wait_ms).await;
        fetched.map_err(|error| self.inner.located(error, ApiKey::FETCH))
    }

    /// An offset of the log: an end of it, or by time. Cancel safe.
    pub async fn get_offset(&self, at: OffsetAt) -> Result<FoundOffset> {
        let found = offsets::find(&self.inner, at).await;
        found.map_err(|error| self.inner.located(error, ApiKey::LIST_OFFSETS))
    }
}

/// A partition client to be made: `.await` it, after any options.
///
/// That makes sure that the partition exists and has a leader, and waits for one until the api timeout; no
/// connection is opened for it yet. Cancel safe.
///
/// # Errors
///
/// [`ErrorKind::UnknownTopicOrPartition`], [`ErrorKind::NoLeader`], and what keeps a broker from being asked.
///
/// [`ErrorKind::UnknownTopicOrPartition`]: crate::errors::ErrorKind::UnknownTopicOrPartition
/// [`ErrorKind::NoLeader`]: crate::errors::ErrorKind::NoLeader
#[derive(Debug)]
#[must_use = "there is no partition client until this is awaited"]
pub struct PartitionClientBuilder {
    client: Client,
    topic: String,
    index: i32,
    acks: Acks,
}

impl PartitionClientBuilder {
    pub(crate) fn new(client: Client, topic: String, index: i32) -> Self {
        Self { client, topic, index, acks: Acks::default() }
    }

    /// Who must hold a batch before it is acknowledged. [`Acks::All`] by default.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    async fn connect(self) -> Result<PartitionClient> {
        let Self { client, topic, index, acks } = self;
        client.check_open()?;
        if index < 0 {
            return Err(invalid("a partition's index is not negative").with_place(&topic, index));
        }
        // What is known may be of a topic that another client has deleted, and perhaps created again.
        client.cluster().mark_stale(&topic);
        let leader = client.cluster().leader(&topic, index, client.api_deadline()).await;
        let leader = leader.map_err(|failure| not_found(&client, failure, &topic, index))?;
        let line = Mutex::new(Line::new(client.limits().buffer_memory));
        let inner = Inner {
            client,
            topic,
            topic_id: leader.topic_id,
            index,
            acks,
            produce_lane: Lane::new(),
            fetch_lane: Lane::new(),
            line,
        };
        Ok(PartitionClient { inner: Arc::new(inner) })
    }
}

fn not_found(client: &Client, failure: Failure, topic: &str, index: i32) -> Error {
    let place = Place { topic: Some(topic.to_owned()), partition: Some(index), ..Place::default() };
    let place = client.cluster().asked(place);
    let gave_up = failure.is_transient();
    let error = ClusterError {
        api: ApiKey::METADATA,
        place: Box::new(place),
        attempts: 1,
        gave_up,
        may_have_taken_effect: false,
        failure,
    };
    Error::of_cluster(error, Outcome::NotWritten)
}

impl IntoFuture for PartitionClientBuilder {
    type Output = Result<PartitionClient>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}
