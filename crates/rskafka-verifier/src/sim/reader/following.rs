//! Readers that follow the log by streams, replay parts of it, and continue after a restart at the position that they stored.
//!
//! Invariant: a reader that stored a position is held to all that it was given before the restart.

use std::iter::once;
use std::ops::Range;
use std::time::Duration;

use futures_util::StreamExt as _;
use rskafka::client::consumer::{
    BatchStream, IsolationLevel, OutOfRange, Position, RecordStream, Replay, StartAt,
};
use rskafka::client::error::{Error, ErrorKind};
use rskafka::protocol::ErrorCode;
use rskafka::record::RecordAndOffset;
use tokio::time::timeout;

use super::super::rules::{Place, Trail, Wrong};
use super::super::run::{BROKERS, RACKS, TOPIC, partition_client};
use super::super::truth::{extent, has_records, last_end};
use super::super::value::Value;
use super::super::wire::LONGEST_WAIT;
use super::{Reader, WHOLE, take};

/// Between two fetches that find nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that a stream is left alone.
const UNPOLLED_MS: u64 = 2_500;
/// Items of a stream, at most, before the reader is started again.
const MOST_ITEMS: u32 = 200;
/// Offsets of a stream that has an end, and of the longest gap in a replay.
const SPAN: i64 = 60;

/// What is read from.
enum Source {
    Records(Box<RecordStream>),
    Batches(Box<BatchStream>),
    Replay(Box<Replay>),
}

/// One life of a reader.
struct Reading {
    source: Source,
    trail: Trail,
    rack: &'static str,
    /// What it is to be given, the first of it at the end.
    wanted: Vec<Range<i64>>,
    is_committed: bool,
    /// Whether the source itself continues where the log does not have the next offset.
    continues: bool,
}

/// What becomes of a reader.
enum End {
    /// It continues where it was.
    Stored,
    /// It starts again where its trail says.
    Broken,
    /// All is read, or it cannot continue.
    Done,
}

impl Source {
    async fn next(&mut self) -> Option<Result<Vec<RecordAndOffset>, Error>> {
        match self {
            Self::Records(stream) => Some(stream.next().await?.map(|record| vec![record])),
            Self::Replay(replay) => Some(replay.next().await?.map(|record| vec![record])),
            Self::Batches(stream) => {
                Some(stream.next().await?.and_then(|batch| batch.into_records().collect()))
            }
        }
    }

    fn position(&self) -> Option<Position> {
        match self {
            Self::Records(stream) => stream.position(),
            Self::Batches(stream) => stream.position(),
            Self::Replay(_) => None,
        }
    }

    /// Whether it can continue at another offset.
    fn skips_to(&mut self, offset: i64) -> bool {
        match self {
            Self::Records(stream) => stream.skip_to(offset),
            Self::Batches(stream) => stream.skip_to(offset),
            Self::Replay(_) => return false,
        }
        true
    }
}

impl Reader {
    pub(in crate::sim) async fn follow(mut self) {
        let mut trail = self.stage.book.rules(self.partition).trail(0);
        let mut start = StartAt::Offset(0);
        loop {
            if self.random.u8(..4) == 0 && trail.next > 0 {
                let mut reading = self.replay(trail.next);
                Box::pin(self.read(&mut reading, u32::MAX)).await;
            }
            let mut reading = self.stream(trail, start);
            let items = self.random.u32(..MOST_ITEMS);
            let end = Box::pin(self.read(&mut reading, items)).await;
            trail = reading.trail;
            let position = reading.source.position().filter(|_| self.random.u8(..8) > 0);
            start = match (end, position) {
                (End::Done, _) => return,
                (End::Stored, Some(position)) => {
                    self.check_passed(&reading, &(0..position.offset()));
                    self.owe(&mut trail);
                    trail.next = trail.next.max(position.offset());
                    if position.leader_epoch().is_none() {
                        trail.from = trail.from.max(trail.next);
                    }
                    StartAt::Position(self.stored(position))
                }
                _ => {
                    trail = self.stage.book.rules(self.partition).trail(trail.next);
                    StartAt::Offset(trail.next)
                }
            };
            if self.random.bool() {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..500))).await;
                self.log = partition_client(&self.client, &self.stage, self.partition).await;
            }
        }
    }

    /// A position as it is read back.
    fn stored(&mut self, position: Position) -> Position {
        let back = match self.random.bool() {
            true => position.to_string().parse(),
            false => Position::from_bytes(&position.to_bytes()),
        };
        back.unwrap_or_else(|error| {
            let what = format!("{} stored {position}: {error}", self.name);
            self.stage.book.rules(self.partition).add(Wrong::Corrupted, what);
            position
        })
    }

    fn stream(&mut self, trail: Trail, start: StartAt) -> Reading {
        let random = &mut self.random;
        let (is_committed, continues) = (random.bool(), random.bool());
        let until = if random.u8(..4) == 0 { trail.next + random.i64(1..SPAN) } else { i64::MAX };
        let builder = self.log.stream(start).isolation(isolation(is_committed)).until(until);
        let rack = RACKS[random.usize(..RACKS.len())];
        let builder = builder
            .rack(rack)
            .max_bytes([1, 500, 5_000, WHOLE as usize][random.usize(..4)])
            .max_wait(Duration::from_millis(random.u64(..LONGEST_WAIT.as_millis() as u64)))
            .read_ahead_bytes([0, 2_000, WHOLE as usize][random.usize(..3)])
            .on_out_of_range(if continues { OutOfRange::Continue } else { OutOfRange::Error });
        let source = match random.bool() {
            true => Source::Records(Box::new(builder.build())),
            false => Source::Batches(Box::new(builder.build_batches())),
        };
        Reading { source, trail, rack, wanted: once(0..until).collect(), is_committed, continues }
    }

    /// Of what lies before an offset, in one range or two.
    fn replay(&mut self, end: i64) -> Reading {
        let random = &mut self.random;
        let (start, is_committed) = (random.i64(0..end), random.bool());
        let middle = random.i64(start..=end);
        let mut wanted = vec![start..middle, end.min(middle + random.i64(0..SPAN))..end];
        let builder = self.log.replay(wanted.clone()).isolation(isolation(is_committed));
        let rack = RACKS[random.usize(..RACKS.len())];
        let builder = builder
            .rack(rack)
            .max_bytes([1, 500, 5_000][random.usize(..3)])
            .read_ahead_bytes([0, 2_000, 50_000][random.usize(..3)])
            .connections(random.usize(1..=4));
        let trail = self.stage.book.rules(self.partition).trail(start);
        let source = Source::Replay(Box::new(builder.build()));
        wanted.reverse();
        Reading { source, trail, rack, wanted, is_committed, continues: false }
    }

    /// Reads so many items, or what there is when all is written.
    async fn read(&mut self, reading: &mut Reading, mut items: u32) -> End {
        // A fetch that found nothing, and another one.
        let limit = (self.stage.options.api_timeout + LONGEST_WAIT) * 2 + PAUSE;
        let Reading { trail, wanted, is_committed, .. } = &*reading;
        let what = || format!("{} begins: {wanted:?}, {trail:?}, committed {is_committed}", self.name);
        self.stage.network.note(what);
        loop {
            let is_last = *self.is_all_written.borrow();
            let is_long = is_last || self.random.u8(..8) == 0;
            let readable = if is_long { self.readable(reading) } else { 0 };
            let ends = reading.wanted.first().is_some_and(|range| range.end <= readable);
            if is_last && !ends && !self.is_left(reading, readable) {
                return End::Done;
            }
            if items == 0 {
                return End::Stored;
            }
            items = items.saturating_sub(1);
            let place = self.stage.place(self.partition, reading.trail.next);
            let wait = if is_long { limit } else { Duration::from_millis(self.random.u64(..300)) };
            match timeout(wait, reading.source.next()).await {
                Ok(Some(Ok(records))) => self.given(reading, &records),
                Ok(Some(Err(error))) => {
                    if let Some(end) = self.failed(reading, &error).await {
                        return end;
                    }
                }
                Ok(None) => {
                    self.check_end(reading);
                    return End::Stored;
                }
                Err(_) if is_long => {
                    let known = if is_last { readable } else { readable.min(place.acknowledged) };
                    return self.after_nothing(reading, place, known, is_last);
                }
                Err(_) if self.random.u8(..8) == 0 => {
                    tokio::time::sleep(Duration::from_millis(self.random.u64(..UNPOLLED_MS))).await;
                }
                Err(_) => {}
            }
        }
    }

    /// Tells the rules what came.
    fn given(&self, reading: &mut Reading, records: &[RecordAndOffset]) {
        let Self { stage, partition, name, .. } = self;
        for record in records {
            self.owe(&mut reading.trail);
            while let Some(over) = reading.wanted.pop_if(|range| range.end <= record.offset) {
                self.check_passed(reading, &over);
                let next = reading.wanted.last().map_or(i64::MAX, |range| range.start);
                reading.trail.next = next.max(reading.trail.next);
            }
            let place = reading.place(self);
            if let Value::Record(id) = Value::of(record.record.value.as_ref()) {
                stage.book.rules(*partition).follows(name, &mut reading.trail, id, reading.is_committed);
            }
            let record = std::slice::from_ref(record);
            reading.trail.next = take(stage, *partition, name, place, reading.is_committed, record);
        }
    }

    fn owe(&self, trail: &mut Trail) {
        self.stage.book.rules(self.partition).owe(trail, || *extent(&self.stage, self.partition).0.end());
    }

    /// What becomes of the reader after an error; `None` if the source goes on.
    async fn failed(&mut self, reading: &mut Reading, error: &Error) -> Option<End> {
        let took = self.stage.options.api_timeout + LONGEST_WAIT;
        self.stage.check_attempts(self.partition, error, took, 0);
        let next = reading.trail.next;
        let mut asked = reading.source.position().map_or(next, |position| position.offset());
        let next = match error.kind() {
            ErrorKind::LogTruncated { divergence_offset } => {
                let (starts, _) = extent(&self.stage, self.partition);
                let mut rules = self.stage.book.rules(self.partition);
                rules.told_of_truncation(&self.name, reading.trail, *divergence_offset, *starts.end());
                *divergence_offset
            }
            // It is in the log, whose epochs are others.
            ErrorKind::Broker(ErrorCode::OFFSET_OUT_OF_RANGE) => asked,
            kind => {
                let is_out = if let ErrorKind::OffsetOutOfRange { offset, .. } = kind {
                    asked = *offset;
                    true
                } else {
                    is_of_other_topic(error)
                };
                match self.after(error, self.stage.place(self.partition, asked)).await {
                    None => return Some(End::Done),
                    Some(_) if !is_out => return None,
                    // It asked before the log was cut, and would go on where that log began.
                    Some(next) if next == asked => return Some(End::Broken),
                    Some(next) => next,
                }
            }
        };
        reading.trail = self.stage.book.rules(self.partition).trail(next);
        let goes_on = !is_of_other_topic(error)
            && (reading.continues || (self.random.bool() && reading.source.skips_to(next)));
        (!goes_on).then_some(End::Broken)
    }

    /// What becomes of the reader when nothing came for long, where what lies before `known` could be read.
    fn after_nothing(&self, reading: &Reading, place: Place, known: i64, is_last: bool) -> End {
        if self.is_left(reading, known) && self.must_have_given(place) {
            self.add(Wrong::Withheld, format!("{} was given nothing before {known}: {place:?}", self.name));
        } else if is_last {
            self.add(Wrong::Overdue, format!("{} did not end at {:?}", self.name, reading.wanted));
        } else {
            return End::Stored;
        }
        End::Done
    }

    /// Nothing of a range may be left when what lies behind it comes.
    fn check_passed(&self, reading: &Reading, range: &Range<i64>) {
        let left = range.start.max(reading.trail.next)..range.end;
        if !self.is_cut(reading, left.end) && self.has(left.clone(), reading.is_committed) {
            self.add(Wrong::Skipped, format!("{} was not given all of {left:?}", self.name));
        }
    }

    /// A source ends behind what is wanted, and not before the log has come there.
    fn check_end(&self, reading: &Reading) {
        reading.wanted.iter().for_each(|range| self.check_passed(reading, range));
        let end = reading.wanted.iter().find(|range| !range.is_empty()).map_or(0, |range| range.end);
        if !self.is_cut(reading, end) && end > extent(&self.stage, self.partition).1 {
            self.add(Wrong::Skipped, format!("{} ended before {end}, where the log ends", self.name));
        }
    }

    /// Whether what lies before an offset may have been cut off since it was read.
    fn is_cut(&self, reading: &Reading, end: i64) -> bool {
        let place = reading.place(self);
        self.stage.book.rules(self.partition).is_cut_since(place, end - 1)
    }

    /// Whether it was not given all that is wanted and lies before an offset.
    fn is_left(&self, Reading { trail, wanted, is_committed, .. }: &Reading, before: i64) -> bool {
        let mut left = wanted.iter().map(|range| range.start.max(trail.next)..range.end.min(before));
        left.any(|range| self.has(range, *is_committed))
    }

    /// Whether a reader is given a record of these offsets.
    fn has(&self, offsets: Range<i64>, is_committed: bool) -> bool {
        let rules = self.stage.book.rules(self.partition);
        let is_left_out = |writer| is_committed && rules.is_aborted(writer);
        has_records(&self.stage, self.partition, offsets, is_left_out)
    }

    /// Up to where one can read at the leader; with a replica nearby, in every copy: a reader stays with one that falls out of sync.
    /// A transaction that nobody ends may be known to followers alone, if its records were deleted before the leader was restarted.
    fn readable(&self, Reading { is_committed, rack, .. }: &Reading) -> i64 {
        let (cluster, partition) = (&self.stage.network.cluster, self.partition as i32);
        let leader = cluster.leader(TOPIC, partition).ok().flatten();
        let is_near = RACKS[..BROKERS as usize].contains(rack);
        let brokers = (1..=BROKERS).filter(|broker| is_near || leader == Some(*broker));
        let copies = brokers.filter_map(|broker| cluster.log_at(TOPIC, partition, broker).ok());
        let ends = copies.map(|it| if *is_committed { it.last_stable_offset } else { it.high_watermark });
        last_end(&self.stage, self.partition, ends.min().unwrap_or_default())
    }

    fn add(&self, wrong: Wrong, what: String) {
        self.stage.book.rules(self.partition).add(wrong, what);
    }
}

impl Reading {
    fn place(&self, reader: &Reader) -> Place {
        Place { cuts: self.trail.cuts, ..reader.stage.place(reader.partition, self.trail.next) }
    }
}

fn is_of_other_topic(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TopicRecreated | ErrorKind::OtherTopic)
}

fn isolation(is_committed: bool) -> IsolationLevel {
    if is_committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted }
}
