//! A stream of batches, which reads ahead.
//!
//! Invariant: at most one fetch is under way, on a task of its own: a stream that is left alone for a while holds up nobody who
//! waits for metadata too. Dropping the stream ends it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rskafka_protocol::ApiKey;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::StartAt;
use super::builder::ReadOptions;
use super::read_ahead::{PAUSE, ReadAhead};
use crate::error::{Case, Error, ErrorKind, Result};
use crate::fetch::{FetchLane, FetchSpec, Fetched, FetchedBatch, LEADER, Position, fetch_once};
use crate::offsets::{self, OffsetAt};
use crate::partition::Partition;

/// A stream of the batches of a partition's log, in order: see
/// [`ReadBuilder::build_batches`](super::ReadBuilder::build_batches).
///
/// It fails, continues and ends as [`RecordStream`](super::RecordStream) does, except for a record that cannot be read: only
/// the iteration over its batch shows it, and the stream has passed that batch then.
#[must_use = "streams do nothing unless polled"]
#[derive(derive_more::Debug)]
#[debug("BatchStream {{ start: {start:?}, position: {:?} }}", ahead.position)]
pub struct BatchStream {
    partition: Arc<Partition>,
    pub(super) lane: Arc<FetchLane>,
    start: StartAt,
    options: ReadOptions,
    pub(crate) ahead: ReadAhead,
    fetch: Option<AbortOnDropHandle<Result<Come>>>,
    /// A position before its start. The log must still have what was read up to there, or have deleted it.
    pub(super) follows: Option<Position>,
}

/// What has come.
enum Come {
    /// Where the stream begins.
    Start(Position),
    /// An answer, with where its fetch began and when it was asked for.
    Answer(Position, Instant, Box<Fetched>),
}

impl BatchStream {
    pub(super) fn new(
        partition: Arc<Partition>,
        lane: Arc<FetchLane>,
        start: StartAt,
        options: ReadOptions,
    ) -> Self {
        // Below one byte there would never be a fetch.
        let room = options.read_ahead_bytes.max(1);
        let mut ahead = ReadAhead::new(room, options.on_out_of_range, options.isolation);
        match start {
            StartAt::Offset(offset) => ahead.restart(Position::of(&partition, offset)),
            StartAt::Position(position) => ahead.restart(position),
            _ => {}
        }
        Self { partition, lane, start, options, ahead, fetch: None, follows: None }
    }

    /// After the batches that were given out: where to continue after a restart. `None` until the start is known.
    pub fn position(&self) -> Option<Position> {
        self.ahead.position
    }

    /// Continues at this offset, whatever lies between. For what cannot be read: a damaged batch, or offsets that are gone.
    pub fn skip_to(&mut self, offset: i64) {
        self.restart(Position::of(&self.partition, offset));
    }

    /// Continues at a position, and asks again where the log ends.
    pub(crate) fn begin_again(&mut self, position: Position) {
        self.restart(position);
        (self.ahead.ends, self.ahead.pause_until) = (None, None);
    }

    pub(super) fn restart(&mut self, position: Position) {
        self.fetch = None;
        self.ahead.restart(position);
    }

    /// Lets the next fetch wait, as after one that failed.
    pub(super) fn pause(&mut self) {
        self.ahead.pause_until = Some(self.partition.core.cluster.env().now() + PAUSE);
    }

    /// Takes in what was fetched, and fetches more if there is room.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(fetch) = &mut self.fetch else {
                if !self.ahead.wants_more() {
                    return;
                }
                let begun = self.partition.core.cluster.runtime().spawn(self.begin());
                self.fetch = Some(AbortOnDropHandle::new(begun));
                continue;
            };
            let Poll::Ready(fetched) = Pin::new(fetch).poll(cx) else { return };
            self.fetch = None;
            match fetched.unwrap_or_else(|_| Err(Error::new(Case::ClientClosed, ErrorKind::Closed))) {
                Ok(Come::Start(position)) => self.ahead.restart(position),
                Ok(Come::Answer(from, asked, fetched)) => self.ahead.fetched(from, *fetched, asked),
                Err(error) => self.ahead.failed(error, self.partition.core.cluster.env().now()),
            }
        }
    }

    fn begin(&self) -> impl Future<Output = Result<Come>> + Send + use<> {
        let (partition, lane, options) = (self.partition.clone(), self.lane.clone(), self.options.clone());
        let (next, start, until) = (self.ahead.next, self.start, self.ahead.until);
        let max_bytes = i32::try_from(self.ahead.wanted_bytes(options.max_bytes)).unwrap_or(i32::MAX);
        let (pause, checked_under, is_first) =
            (self.ahead.pause_until, self.ahead.read_under, self.ahead.ends.is_none());
        let follows = self.follows.filter(|_| self.ahead.begun_under.is_none());
        async move {
            let cluster = &partition.core.cluster;
            let located = |error| partition.located(error, ApiKey::FETCH);
            if let Some(moment) = pause {
                cluster.pause_until(moment).await;
            }
            let Some(from) = next else { return find_start(&partition, start).await.map(Come::Start) };
            from.check(&partition).map_err(located)?;
            loop {
                let asked = cluster.env().now();
                let wait = if is_first && options.every_batch { Duration::ZERO } else { options.max_wait };
                let spec = FetchSpec::new(&partition.core, from.offset, 1..max_bytes, wait);
                let spec = FetchSpec {
                    last_epoch: from.leader_epoch,
                    checked_under,
                    until,
                    isolation: options.isolation,
                    every_batch: options.every_batch,
                    ..spec.map_err(located)?
                };
                let compared = match follows {
                    Some(before) => {
                        let (offset, last_epoch) = (before.offset, before.leader_epoch);
                        let look =
                            FetchSpec { offset, last_epoch, max_bytes: 1, wait: Duration::ZERO, ..spec };
                        match fetch_once(&partition, &lane, &look).await {
                            // Deleted since, if the next answer says so too: then nothing tells whether it was cut off before.
                            Err(error) if is_deleted(&error, offset) => None,
                            looked => Some(looked?.read_under),
                        }
                    }
                    None => None,
                };
                let fetched = fetch_once(&partition, &lane, &spec).await?;
                let is_gone =
                    |before: Position| fetched.log_start_offset().is_none_or(|it| it > before.offset);
                if compared.map_or(follows.is_none_or(is_gone), |under| under == fetched.read_under) {
                    return Ok(Come::Answer(from, asked, Box::new(fetched)));
                }
                // Another leader was elected in between; or each broker names others, so that the two go to two replicas in turn,
                // for as long as that lasts: both are to go to the leader.
                lane.prefer(LEADER, asked);
            }
        }
    }
}

fn is_deleted(error: &Error, asked: i64) -> bool {
    matches!(*error.kind(), ErrorKind::OffsetOutOfRange { log_start, .. } if log_start > asked)
}

async fn find_start(partition: &Partition, start: StartAt) -> Result<Position> {
    let at = match start {
        StartAt::Latest => OffsetAt::Latest,
        StartAt::Timestamp(time) => OffsetAt::Timestamp(time),
        // The others are known.
        _ => OffsetAt::Earliest,
    };
    let found = offsets::find(partition, at).await;
    let found = found.map_err(|error| partition.located(error, ApiKey::LIST_OFFSETS))?;
    Ok(Position::of(partition, found.offset))
}

impl Stream for BatchStream {
    type Item = Result<FetchedBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.fill(cx);
            let taken = self.ahead.take();
            // Without a fetch under way there is room now: the end of what was read ahead was taken.
            if taken.is_ready() || self.fetch.is_some() {
                return taken;
            }
        }
    }
}
