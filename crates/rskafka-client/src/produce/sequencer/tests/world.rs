//! A sequencer, the line around it and the cluster, driven by a script of bytes. Each step checks the promises.
//!
//! A script that has ended gives zeros, which stand for what goes well: so a shorter script is a simpler story.

use std::collections::VecDeque;

use rskafka_protocol::ErrorCode;

use super::super::{
    Action, Attempt, Closed, Idempotence, Numbers, Options, Producer, Reason, Sequencer, Settled, Verified,
};
use super::broker::{Batch, Memory, Partition, Unknown};
use crate::error::Outcome;

pub(super) const KNOWN_FOR: i64 = 1000;

/// What a run is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) idempotence: Idempotence,
    pub(super) compares_epochs: bool,
    pub(super) stop_on_failure: bool,
    pub(super) loses_acknowledged: bool,
}

/// How often the rarer things happened.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) written: u64,
    pub(super) not_written: u64,
    pub(super) unknown: u64,
    pub(super) five_in_flight: u64,
    pub(super) sent_again: u64,
    pub(super) numbered_again: u64,
    pub(super) epochs_begun: u64,
    pub(super) producer_ids: u64,
    pub(super) truncations: u64,
    pub(super) stops: u64,
    pub(super) written_behind_unknown: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
        self.five_in_flight += other.five_in_flight;
        self.sent_again += other.sent_again;
        self.numbered_again += other.numbered_again;
        self.epochs_begun += other.epochs_begun;
        self.producer_ids += other.producer_ids;
        self.truncations += other.truncations;
        self.stops += other.stops;
        self.written_behind_unknown += other.written_behind_unknown;
    }
}

type Checked = Result<(), String>;

macro_rules! check {
    ($holds:expr, $($text:tt)*) => {
        if !$holds { return Err(format!($($text)*)); }
    };
}

#[derive(Debug)]
struct Append {
    record_count: i32,
    settled: Option<Settled>,
    /// The numbers that it was sent with last.
    numbers: Option<Numbers>,
    was_sent: bool,
    /// An attempt may have written it.
    is_in_doubt: bool,
    /// The connection that it was sent over last.
    sent_over: u64,
    sent_at: u64,
    /// It was acknowledged, and lost.
    is_lost: bool,
}

#[derive(Debug)]
struct Connection {
    serial: u64,
    broker: u8,
    leader_epoch: i32,
    is_closed: bool,
    requests: VecDeque<Batch>,
    answers: VecDeque<(Batch, Attempt)>,
}

/// When the partition acknowledged a producer, as the gate must know it.
#[derive(Debug, Clone, Copy)]
struct Gate {
    id: i64,
    leader_epoch: i32,
    connection: u64,
    until: i64,
}

pub(super) struct World<'a> {
    script: std::slice::Iter<'a, u8>,
    setting: Setting,
    max_in_flight: usize,
    is_readable: bool,
    knows_leader_epochs: bool,
    grants_at_once: bool,
    waits_for_room: bool,
    first_epoch: i16,
    first_sequence: i64,
    sequencer: Sequencer,
    partition: Partition,
    leader: u8,
    leader_epoch: i32,
    /// The newest leader's epoch that a lease was given for.
    leased_epoch: i32,
    connection: Connection,
    /// Requests on connections that the client has closed, which a broker may still read.
    late: Vec<(u8, VecDeque<Batch>)>,
    pending: Option<Action>,
    appends: Vec<Append>,
    ranges: Vec<(Batch, Numbers)>,
    gate: Option<Gate>,
    last_producer_id: i64,
    stopped_behind: Option<u64>,
    now: i64,
    steps: u64,
    /// The step at which acknowledged records were lost.
    lost_at: Option<u64>,
    /// The step from which on the client can know of the loss.
    revealed_at: Option<u64>,
    pub(super) seen: Seen,
    /// Whether what the sequencer does is shown.
    pub(super) is_traced: bool,
}

impl<'a> World<'a> {
    pub(super) fn new(setting: Setting, script: &'a [u8]) -> Self {
        let mut script = script.iter();
        let mut take = || usize::from(script.next().copied().unwrap_or_default());
        let (width, broker, limits) = (take(), take(), take());
        let max_in_flight = match setting.idempotence {
            Idempotence::Off => 1,
            _ if width < 160 => 5,
            _ => 1 + width % 5,
        };
        let unknown = match broker % 4 {
            0 | 1 => Unknown::Accepted,
            2 => Unknown::Refused(ErrorCode::UNKNOWN_PRODUCER_ID),
            _ => Unknown::Refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        };
        let options = Options {
            max_in_flight: if width < 160 { 5 } else { 1 + width % 5 },
            idempotence: setting.idempotence,
            stop_on_failure: setting.stop_on_failure,
            known_for: std::time::Duration::from_millis(KNOWN_FOR as u64),
        };
        let connection = Connection {
            serial: 0,
            broker: 0,
            leader_epoch: 0,
            is_closed: true,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
        };
        Self {
            script,
            setting,
            max_in_flight,
            is_readable: broker & 0x70 != 0x70,
            knows_leader_epochs: broker & 0x80 == 0 || broker & 8 == 0,
            grants_at_once: width % 4 != 3,
            waits_for_room: limits & 0x60 == 0x60,
            first_epoch: if limits & 7 == 7 { i16::MAX - 1 } else { 0 },
            first_sequence: if limits & 0x18 == 0x18 { i64::from(i32::MAX) - 6 } else { 0 },
            sequencer: Sequencer::new(options),
            partition: Partition::new(unknown, setting.compares_epochs),
            leader: 0,
            leader_epoch: 3,
            leased_epoch: 0,
            connection,
            late: Vec::new(),
            pending: None,
            appends: Vec::new(),
            ranges: Vec::new(),
            gate: None,
            last_producer_id: 0,
            stopped_behind: None,
            now: 1_000_000,
            steps: 0,
            lost_at: None,
            revealed_at: None,
            seen: Seen::default(),
            is_traced: false,
        }
    }

    pub(super) fn run(&mut self) -> Checked {
        while self.script.len() > 0 {
            self.step()?;
            self.pump()?;
        }
        self.finish()
    }

    fn take(&mut self) -> usize {
        usize::from(self.script.next().copied().unwrap_or_default())
    }

    fn step(&mut self) -> Checked {
        self.steps += 1;
        match self.take() % 32 {
            0..=7 => self.admit(),
            8..=13 => self.serve(),
            14..=18 => return self.deliver(),
            19..=22 => return self.grant(),
            23 | 24 => self.cut(),
            25 => self.give_up(),
            26 => self.change_leader(),
            27 => self.serve_late(),
            28 => self.forget(),
            29 => self.partition.append_foreign(2),
            30 if self.setting.loses_acknowledged => self.lose_power(),
            30 => self.now += KNOWN_FOR / 3,
            _ => match self.take() % 3 {
                0 => self.sequencer.drain(),
                1 => self.resume(),
                _ => self.leader_epoch += 1,
            },
        }
        Ok(())
    }

    fn admit(&mut self) {
        if self.waits_for_room && !self.sequencer.has_room() {
            return;
        }
        let record_count = 1 + (self.take() % 3) as i32;
        match self.sequencer.admit(record_count) {
            Ok(number) => {
                assert_eq!(number, self.appends.len() as u64);
                self.appends.push(Append {
                    record_count,
                    settled: None,
                    numbers: None,
                    was_sent: false,
                    is_in_doubt: false,
                    sent_over: 0,
                    sent_at: 0,
                    is_lost: false,
                });
            }
            Err(Closed::Stopped { .. }) => self.resume(),
            Err(Closed::Truncated { .. }) => {}
        }
    }

    fn resume(&mut self) {
        self.stopped_behind = None;
        self.sequencer.resume();
    }

    /// The broker answers the first request on the connection.
    fn serve(&mut self) {
        if self.connection.is_closed {
            return;
        }
        let Some(batch) = self.connection.requests.pop_front() else { return };
        let luck = self.take();
        let attempt = self.answer(self.connection.broker, batch, luck);
        self.connection.answers.push_back((batch, attempt));
    }

    fn answer(&mut self, broker: u8, batch: Batch, luck: usize) -> Attempt {
        if broker != self.leader {
            return Attempt::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let timestamp = self.now;
        let before = [
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::MESSAGE_TOO_LARGE,
        ];
        let after = [
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ];
        if luck % 16 == 15 {
            return Attempt::Refused(before[luck / 16 % 4]);
        }
        let place = match self.partition.append(batch) {
            Ok(place) => place,
            Err(code) => return Attempt::Refused(code),
        };
        if luck % 16 == 14 {
            return Attempt::Refused(after[luck / 16 % 4]);
        }
        self.partition.committed = self.partition.committed.max(place + 1);
        let base_offset = Some(self.partition.log[place].base_offset).filter(|_| luck != 0x7d);
        Attempt::Acknowledged { base_offset, timestamp }
    }

    /// The client reads the first answer on the connection.
    fn deliver(&mut self) -> Checked {
        let Some((batch, attempt)) = self.connection.answers.pop_front() else { return Ok(()) };
        match attempt {
            Attempt::Acknowledged { timestamp, .. } => {
                self.gate = Some(Gate {
                    id: batch.numbers.map_or(-1, |numbers| numbers.producer.id),
                    leader_epoch: self.connection.leader_epoch,
                    connection: self.connection.serial,
                    until: timestamp + KNOWN_FOR,
                });
            }
            Attempt::Refused(code) => {
                let is_out_of_order =
                    [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID].contains(&code);
                let last_written = self
                    .appends
                    .iter()
                    .rfind(|append| matches!(append.settled, Some(Settled::Written { .. })));
                let is_last_lost = last_written.is_some_and(|append| append.is_lost);
                if is_last_lost && is_out_of_order && batch.number == self.oldest_unsettled() {
                    self.revealed_at.get_or_insert(self.steps);
                }
                let append = &mut self.appends[batch.number as usize];
                append.is_in_doubt |= [
                    ErrorCode::REQUEST_TIMED_OUT,
                    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                    ErrorCode::KAFKA_STORAGE_ERROR,
                    ErrorCode::NOT_LEADER_OR_FOLLOWER,
                ]
                .contains(&code);
            }
            Attempt::Unanswered { .. } => {}
        }
        if self.is_traced {
            println!("step {}: append {}: {attempt:?}", self.steps, batch.number);
        }
        self.sequencer.attempt_ended(batch.number, attempt);
        Ok(())
    }

    /// The connection ends. What the broker has not read of it may still arrive.
    fn cut(&mut self) {
        let fate = self.take();
        self.end_connection(fate % 2 == 1, fate % 64 == 62);
    }

    fn end_connection(&mut self, may_arrive: bool, is_lasting: bool) {
        self.connection.is_closed = true;
        let unread = std::mem::take(&mut self.connection.requests);
        let answered = std::mem::take(&mut self.connection.answers);
        let outstanding: Vec<u64> =
            answered.iter().map(|(batch, _)| batch).chain(&unread).map(|batch| batch.number).collect();
        if may_arrive && !unread.is_empty() {
            self.late.push((self.connection.broker, unread));
        }
        for number in outstanding {
            self.appends[number as usize].is_in_doubt = true;
            let attempt = Attempt::Unanswered { outcome: Outcome::Unknown, is_transient: !is_lasting };
            self.sequencer.attempt_ended(number, attempt);
        }
    }

    fn give_up(&mut self) {
        let which = self.take();
        let mut unsettled = (0..self.appends.len()).filter(|at| self.appends[*at].settled.is_none());
        let number = if which < 128 { unsettled.next() } else { unsettled.nth(which % 5) };
        if let Some(number) = number {
            self.sequencer.give_up(number as u64);
        }
    }

    fn change_leader(&mut self) {
        let how = self.take();
        let memory = if how & 1 == 1 { Memory::LastBatch } else { Memory::FiveBatches };
        let (is_unclean, is_crash) = (self.setting.loses_acknowledged && how & 6 == 6, how & 8 == 8);
        let length = self.partition.log.len();
        let kept = match is_unclean {
            true => self.partition.committed.saturating_sub(1 + (how >> 4) % 3),
            false => self.partition.committed + (how >> 4) % (length - self.partition.committed + 1),
        };
        self.partition.change_leader(kept, memory);
        if is_crash || is_unclean {
            self.late.retain(|(broker, _)| *broker != self.leader && !is_unclean);
            if self.connection.broker == self.leader || is_unclean {
                self.end_connection(false, false);
            }
        }
        self.leader = (self.leader + 1) % 3;
        self.leader_epoch += 1;
        // A lease names the new leader's epoch, so the log is read before anything is sent.
        if self.note_losses() {
            self.revealed_at = Some(self.steps);
        }
    }

    /// The leader loses the end of its log without a change of leaders. Only what it then says of sequence numbers can
    /// reveal it.
    fn lose_power(&mut self) {
        let lost = 1 + self.take() % 3;
        self.end_connection(false, false);
        self.late.clear();
        self.partition.change_leader(self.partition.committed.saturating_sub(lost), Memory::FiveBatches);
        self.note_losses();
    }

    fn note_losses(&mut self) -> bool {
        let mut is_lost = false;
        for number in 0..self.appends.len() {
            let append = &mut self.appends[number];
            let was_written = matches!(append.settled, Some(Settled::Written { .. })) && !append.is_lost;
            if was_written && self.partition.find(number as u64).is_none() {
                append.is_lost = true;
                self.lost_at = Some(self.steps);
                is_lost = true;
            }
        }
        is_lost
    }

    /// A broker reads a request on a connection that the client has closed.
    fn serve_late(&mut self) {
        let Some((broker, requests)) = self.late.first_mut() else { return };
        let (broker, batch) = (*broker, requests.pop_front().unwrap());
        if requests.is_empty() {
            self.late.remove(0);
        }
        let luck = self.take();
        self.answer(broker, batch, luck);
    }

    /// The partition forgets its producers, where this can do no harm that no client can prevent: no copy of a batch is
    /// under way, and all that is in the log is settled.
    fn forget(&mut self) {
        let is_idle = self.connection.requests.is_empty() && self.connection.answers.is_empty();
        let is_settled = |number: u64| self.appends[number as usize].settled.is_some();
        if !self.partition.log.iter().filter_map(|stored| stored.batch).all(|batch| is_settled(batch.number))
        {
            return;
        }
        match self.take() % 2 {
            0 if is_idle => {
                self.now += KNOWN_FOR;
                self.partition.forget_producers();
            }
            _ => {
                self.end_connection(false, false);
                self.partition.change_leader(self.partition.committed, Memory::Nothing);
                self.leader = (self.leader + 1) % 3;
                self.leader_epoch += 1;
            }
        }
        self.late.clear();
    }

    /// Gives the sequencer what it waits for, or not.
    fn grant(&mut self) -> Checked {
        let luck = self.take();
        let Some(action) = self.pending.take() else { return Ok(()) };
        if luck % 16 == 15 {
            self.sequencer.not_done();
            return Ok(());
        }
        match action {
            Action::Lease => {
                check!(
                    self.connection.requests.is_empty() && self.connection.answers.is_empty(),
                    "a lease is taken while requests are outstanding"
                );
                let is_stale = luck % 16 == 14 && self.leased_epoch < self.leader_epoch;
                let broker = if is_stale { (self.leader + 2) % 3 } else { self.leader };
                self.leased_epoch = if is_stale { self.leader_epoch - 1 } else { self.leader_epoch };
                self.connection.serial += 1;
                self.connection.is_closed = false;
                self.connection.broker = broker;
                self.connection.leader_epoch = if self.knows_leader_epochs { self.leased_epoch } else { -1 };
                self.sequencer.leased(self.connection.leader_epoch);
            }
            Action::ObtainProducerId => {
                self.last_producer_id += 1;
                self.seen.producer_ids += 1;
                let epoch = if self.last_producer_id == 1 { self.first_epoch } else { 0 };
                self.sequencer.obtained(Producer { id: self.last_producer_id, epoch });
                if self.last_producer_id == 1 {
                    self.sequencer.next_sequence = self.first_sequence;
                }
            }
            Action::Verify(acknowledged) => {
                let verified = self.partition.verify(acknowledged);
                if matches!(verified, Verified::Lost { .. }) {
                    check!(self.lost_at.is_some(), "a verdict of loss where nothing was lost");
                }
                self.sequencer.verified(if self.is_readable { verified } else { Verified::Unreadable });
            }
            Action::Send { .. } | Action::Settle { .. } => return Err("not waited for".to_owned()),
        }
        Ok(())
    }

    fn pump(&mut self) -> Checked {
        loop {
            let action = self.sequencer.poll(|| self.now);
            if let (true, Some(action)) = (self.is_traced, action) {
                println!("step {}: {action:?}", self.steps);
            }
            match action {
                None => return Ok(()),
                Some(Action::Send { number, numbers }) => self.send(number, numbers)?,
                Some(Action::Settle { number, settled }) => self.settle(number, settled)?,
                Some(action) => {
                    check!(self.pending.is_none(), "{action:?} is asked for while {:?} is", self.pending);
                    self.pending = Some(action);
                    if self.grants_at_once {
                        self.grant()?;
                    }
                }
            }
        }
    }

    fn send(&mut self, number: u64, numbers: Option<Numbers>) -> Checked {
        self.check_order(number)?;
        let append = &mut self.appends[number as usize];
        let batch = Batch { number, numbers, record_count: append.record_count };
        check!(append.settled.is_none(), "append {number} is sent after it was settled");
        if append.was_sent && append.numbers == numbers {
            self.seen.sent_again += 1;
            check!(
                numbers.is_some() || !append.is_in_doubt,
                "append {number}, which may be written, is sent again"
            );
        } else if append.was_sent {
            check!(!append.is_in_doubt, "append {number}, which may be written, is sent under other numbers");
            self.seen.numbered_again += 1;
        }
        append.numbers = numbers;
        append.was_sent = true;
        append.sent_over = self.connection.serial;
        append.sent_at = self.steps;
        if let Some(numbers) = numbers {
            self.check_gate(number, numbers.producer)?;
            self.check_numbers(batch, numbers)?;
        }
        if self.connection.is_closed {
            let attempt = Attempt::Unanswered { outcome: Outcome::NotWritten, is_transient: true };
            self.sequencer.attempt_ended(number, attempt);
            return Ok(());
        }
        self.connection.requests.push_back(batch);
        let in_flight = self.connection.requests.len() + self.connection.answers.len();
        self.seen.five_in_flight += u64::from(in_flight == 5);
        Ok(())
    }

    fn check_numbers(&mut self, batch: Batch, numbers: Numbers) -> Checked {
        let number = batch.number;
        let range = |batch: &Batch, numbers: Numbers| {
            let first = i64::from(numbers.base_sequence);
            first..first + i64::from(batch.record_count)
        };
        let own = range(&batch, numbers);
        check!(own.end <= 1 << 31, "the numbers of append {number} wrap");
        let reused = self.ranges.iter().find(|(other, other_numbers)| {
            let used = range(other, *other_numbers);
            other_numbers.producer == numbers.producer
                && other.number != number
                && used.start < own.end
                && own.start < used.end
        });
        check!(reused.is_none(), "append {number} is sent under numbers of {reused:?}");
        if !self.ranges.contains(&(batch, numbers)) {
            let is_new_epoch = numbers.producer.epoch > self.first_epoch && numbers.base_sequence == 0;
            self.seen.epochs_begun += u64::from(is_new_epoch);
            self.ranges.push((batch, numbers));
        }
        Ok(())
    }

    fn oldest_unsettled(&self) -> u64 {
        self.appends.iter().position(|append| append.settled.is_none()).unwrap_or(self.appends.len()) as u64
    }

    fn check_order(&self, number: u64) -> Checked {
        let oldest = self.oldest_unsettled();
        check!(
            number - oldest < self.max_in_flight as u64,
            "append {number} is sent while {oldest} is unsettled, {} in flight allowed",
            self.max_in_flight
        );
        for (earlier, append) in self.appends.iter().enumerate().take(number as usize) {
            let was_sent = append.sent_over == self.connection.serial || append.settled.is_some();
            check!(
                was_sent,
                "append {number} is sent before {earlier} over connection {}",
                self.connection.serial
            );
        }
        let is_behind_failure = self.stopped_behind.is_some_and(|behind| number > behind);
        check!(!is_behind_failure, "append {number} is sent behind {:?}, which failed", self.stopped_behind);
        Ok(())
    }

    fn check_gate(&self, number: u64, producer: Producer) -> Checked {
        let is_open = self.gate.is_some_and(|gate| {
            let same_leader = gate.leader_epoch >= 0 || gate.connection == self.connection.serial;
            gate.id == producer.id
                && gate.leader_epoch == self.connection.leader_epoch
                && same_leader
                && self.now < gate.until
        });
        let in_flight = self.connection.requests.len() + self.connection.answers.len();
        let is_alone = in_flight == 0 && number == self.oldest_unsettled();
        check!(is_open || is_alone, "append {number} is sent beside others though {producer:?} is not known");
        Ok(())
    }

    fn settle(&mut self, number: u64, settled: Settled) -> Checked {
        let append = &mut self.appends[number as usize];
        check!(append.settled.is_none(), "append {number} is settled twice");
        append.settled = Some(settled);
        let found = self.partition.find(number);
        match settled {
            Settled::Written { base_offset } => {
                self.seen.written += 1;
                let is_there = found.is_some_and(|stored| stored.base_offset == base_offset);
                append.is_lost = !is_there && self.setting.loses_acknowledged;
                check!(is_there || append.is_lost, "append {number} is not at {base_offset}");
                let may_follow =
                    !self.is_readable || self.revealed_at.is_none_or(|known_at| append.sent_at <= known_at);
                check!(may_follow, "append {number} is acknowledged behind a loss that was not reported");
                if append.is_lost {
                    self.lost_at = Some(self.steps);
                }
                self.check_offset(number, base_offset)?;
            }
            Settled::Failed { outcome, reason } => {
                match outcome {
                    Outcome::NotWritten => {
                        check!(found.is_none(), "append {number} is called not written and is in the log");
                        self.seen.not_written += 1;
                    }
                    Outcome::Unknown => self.seen.unknown += 1,
                }
                match reason {
                    Reason::Closed(Closed::Truncated { .. }) => {
                        check!(self.setting.loses_acknowledged, "a loss where nothing was lost");
                        self.seen.truncations += 1;
                    }
                    Reason::Closed(Closed::Stopped { .. }) => self.seen.stops += 1,
                    _ if self.setting.stop_on_failure => {
                        let behind = self.stopped_behind.unwrap_or(number);
                        self.stopped_behind = Some(behind.min(number));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Acknowledged offsets are in the order of the calls.
    fn check_offset(&mut self, number: u64, base_offset: i64) -> Checked {
        for (other, append) in self.appends.iter().enumerate() {
            let other = other as u64;
            match append.settled {
                Some(Settled::Written { base_offset: other_offset }) if other != number => check!(
                    (other_offset < base_offset) == (other < number),
                    "append {number} is acknowledged at {base_offset}, and {other} at {other_offset}"
                ),
                Some(Settled::Failed { outcome: Outcome::Unknown, .. }) if other < number => {
                    self.seen.written_behind_unknown += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// From now on all goes well: everything is settled.
    fn finish(&mut self) -> Checked {
        for _ in 0..200 {
            self.pump()?;
            if self.oldest_unsettled() == self.appends.len() as u64 {
                while !self.late.is_empty() {
                    self.serve_late();
                }
                return self.check_log();
            }
            self.steps += 1;
            self.grant()?;
            self.pump()?;
            while !self.connection.requests.is_empty() {
                self.serve();
            }
            while !self.connection.answers.is_empty() {
                self.deliver()?;
            }
        }
        Err(format!("append {} is never settled", self.oldest_unsettled()))
    }

    fn check_log(&self) -> Checked {
        let numbers: Vec<u64> =
            self.partition.log.iter().filter_map(|stored| Some(stored.batch?.number)).collect();
        for (number, append) in self.appends.iter().enumerate() {
            let number = number as u64;
            let copies = numbers.iter().filter(|other| **other == number).count();
            check!(copies <= 1, "append {number} is in the log {copies} times: {numbers:?}");
            match append.settled {
                Some(Settled::Written { base_offset }) if !append.is_lost => {
                    let stored = self.partition.find(number);
                    check!(
                        stored.is_some_and(|stored| stored.base_offset == base_offset),
                        "append {number} was acknowledged at {base_offset}: {numbers:?}"
                    );
                }
                Some(Settled::Failed { outcome: Outcome::NotWritten, .. }) => {
                    check!(
                        copies == 0,
                        "append {number} is called not written and is in the log: {numbers:?}"
                    );
                }
                _ => {}
            }
        }
        // Late copies without an epoch above theirs are not fenced: only those of unknown outcome can be late.
        let is_written =
            |number: &&u64| matches!(self.appends[**number as usize].settled, Some(Settled::Written { .. }));
        let counted: Vec<u64> = match self.last_producer_id {
            1 => numbers.clone(),
            _ => numbers.iter().filter(is_written).copied().collect(),
        };
        check!(counted.is_sorted(), "the order of the calls is lost: {numbers:?}");
        Ok(())
    }
}
