//! Processes that claim one log and append to it by the very structs of the crate, and a network that delivers what it
//! likes when it likes, one step at a time.
//!
//! Each step keeps the guarantees, or says which one it broke (`truth.rs`).

use std::hash::Hash;
use std::rc::Rc;

use super::super::fence::{Mark, Reading, Verdict};
use super::super::ledger::{Answer, End, Ledger, Settled};
use super::limits::Limits;
use super::parts::{Batch, Network, Never, Point, Process, Role, Unknown, Writer};
use super::truth::{Event, Events, Reference};

/// A state of everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) log: Rc<Vec<Batch>>,
    pub(super) log_start: i64,
    pub(super) network: Rc<Network>,
    pub(super) processes: Vec<Rc<Process>>,
    /// What was called not written.
    pub(super) never: Rc<Vec<Never>>,
    /// Offsets that a process has stored: the log may be trimmed up to them, and fall back to them.
    stored: Rc<Vec<i64>>,
    spent: Spent,
}

/// What was used up of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Spent {
    claims: u8,
    again: u8,
    failed: u8,
    crashes: u8,
    stores: u8,
    log_starts: u8,
    others: u8,
    cuts: u8,
}

/// Something that happens next. Processes, requests and batches by their place in the world.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Read(usize),
    Claim(usize),
    Append(usize),
    Send(usize),
    /// To a call of a writer: its claim is the first, 0.
    Answer(usize, usize, Answer),
    GiveUp(usize),
    Store(usize),
    /// It starts again where a process, perhaps another one, has stored a position.
    Crash(usize, usize),
    Deliver(usize),
    Other(Mark),
    LogStart(i64),
    /// All but so many batches are lost.
    Cut(usize),
}

impl World {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            log: Rc::default(),
            log_start: 0,
            network: Rc::default(),
            processes: (0..limits.processes).map(|_| Rc::new(Process::new())).collect(),
            never: Rc::default(),
            stored: Rc::new(vec![0]),
            spent: Spent::default(),
        }
    }

    /// What can happen next.
    pub(super) fn actions(&self, limits: &Limits) -> Vec<Action> {
        let mut actions = Vec::new();
        for at in 0..self.processes.len() {
            if !self.processes[at].is_halted {
                self.actions_of(at, limits, &mut actions);
            }
        }
        if self.log.len() < limits.batches {
            actions.extend((0..self.network.requests.len()).map(Action::Deliver));
            if self.spent.others < limits.others {
                actions.extend([Action::Other(Mark::Foreign), Action::Other(Mark::Control)]);
            }
        }
        if self.spent.log_starts < limits.log_starts {
            let others = self.stored.iter().filter(|offset| **offset != self.log_start);
            actions.extend(others.copied().map(Action::LogStart));
        }
        if self.spent.cuts < limits.cuts {
            actions.extend((0..self.log.len()).map(Action::Cut));
        }
        actions
    }

    fn actions_of(&self, at: usize, limits: &Limits, actions: &mut Vec<Action>) {
        let process = &*self.processes[at];
        let mut claims = self.spent.claims < limits.claims;
        let mut reads = self.next_batch(process.reading()).is_some();
        if let Role::Writer(writer) = &process.role {
            let ledger = &writer.ledger;
            let has_ended = ledger.end().is_some();
            let is_lost = matches!(ledger.end(), Some(End::Truncated { .. }));
            claims &= has_ended && !is_lost && writer.open.is_empty();
            reads &= ledger.wants_read_to().is_some() || limits.tails && !has_ended || limits.tails_after_end;
            self.actions_of_writer(at, writer, limits, actions);
        }
        if reads {
            actions.push(Action::Read(at));
        }
        if claims {
            actions.push(Action::Claim(at));
        }
        if self.spent.stores < limits.stores
            && process.reading().next_offset > process.stored.reading.next_offset
        {
            actions.push(Action::Store(at));
        }
        if self.spent.crashes < limits.crashes && *process != process.started_at(process.stored) {
            actions.push(Action::Crash(at, at));
            let elsewhere = |from: &usize| self.processes[*from].stored != process.stored;
            actions.extend((0..self.processes.len()).filter(elsewhere).map(|from| Action::Crash(at, from)));
        }
    }

    fn actions_of_writer(&self, at: usize, writer: &Writer, limits: &Limits, actions: &mut Vec<Action>) {
        let ledger = &writer.ledger;
        let is_writer = ledger.end().is_none() && !writer.open.contains(&0);
        if is_writer && writer.sequences.len() <= limits.appends && writer.open.len() < limits.pipeline {
            actions.push(Action::Append(at));
        }
        if writer.open.len() > writer.in_flight.len() && ledger.clone().send().is_some() {
            actions.push(Action::Send(at));
        }
        if ledger.is_held_up() && self.spent.failed < limits.failed {
            actions.push(Action::GiveUp(at));
        }
        for &call in &writer.in_flight {
            let mut answer = |answer| actions.push(Action::Answer(at, call, answer));
            for batch in self.log.iter().filter(|batch| batch.is(writer.author, call)) {
                answer(Answer::Acknowledged(batch.offsets.0, batch.offsets.1));
            }
            if self.spent.again < limits.again && self.log.iter().any(|batch| batch.is(writer.author, call)) {
                answer(Answer::Written);
            }
            let is_delivered = self.network.is_delivered(writer.author, call);
            let ends: &[bool] = if is_delivered { &[true] } else { &[false, true] };
            for &may_be_written in ends {
                if self.spent.again < limits.again {
                    answer(Answer::Again { may_be_written });
                }
                if self.spent.failed < limits.failed {
                    answer(Answer::Failed { may_be_written });
                }
            }
        }
    }

    /// Does one step. An error names the guarantee that it broke.
    pub(super) fn step(&mut self, limits: &Limits, action: Action) -> Result<Events, String> {
        let mut events = Events::default();
        match action {
            Action::Read(at) => self.read(at, limits, &mut events)?,
            Action::Claim(at) => self.claim(at)?,
            Action::Append(at) => self.with_writer(at, &mut events, |writer| {
                writer.open.push(writer.sequences.len());
                writer.sequences.push(writer.ledger.next_sequence());
                writer.ledger.append();
            })?,
            Action::Send(_) => {}
            Action::Answer(at, call, answer) => self.answer(at, call, answer, &mut events)?,
            Action::GiveUp(at) => {
                self.spent.failed += 1;
                self.with_writer(at, &mut events, |writer| {
                    writer.ledger.give_up();
                })?;
            }
            Action::Store(at) => self.store(at),
            Action::Crash(at, from) => {
                self.spent.crashes += 1;
                self.forget_attempts(at);
                let mut started = self.processes[at].started_at(self.processes[from].stored);
                started.is_cut |= self.processes[from].is_cut;
                self.processes[at] = Rc::new(started);
            }
            Action::Deliver(request) => self.deliver(request, limits),
            Action::Other(mark) => {
                self.spent.others += 1;
                self.put(mark, 0, 0, 1);
            }
            Action::LogStart(offset) => {
                self.spent.log_starts += 1;
                self.log_start = offset;
            }
            Action::Cut(batches) => self.cut(batches),
        }
        if let Action::Claim(at) | Action::Append(at) | Action::Send(at) = action {
            self.send(at)?;
        }
        self.check(limits)?;
        Ok(events)
    }

    fn read(&mut self, at: usize, limits: &Limits, events: &mut Events) -> Result<(), String> {
        let mut process = Process::clone(&self.processes[at]);
        let batch = *self.next_batch(process.reading()).expect("offered only where there is one");
        let read = match &mut process.role {
            Role::Reader(reading) => reading.pass(batch.offsets, batch.mark),
            Role::Writer(writer) => writer.ledger.read(batch.offsets, batch.mark),
        };
        match read {
            Ok(verdict) => {
                self.learn(&mut process, &batch, verdict, events)?;
                self.drain(&mut process, events)?;
            }
            // A cut can have taken a claim that others know.
            Err(_) if limits.cuts > 0 => process.is_halted = true,
            Err(damage) => return Err(format!("process {at} cannot read on: {damage:?}")),
        }
        self.processes[at] = Rc::new(process);
        Ok(())
    }

    /// What a process makes of a batch that it has read.
    fn learn(
        &mut self,
        process: &mut Process,
        batch: &Batch,
        verdict: Verdict,
        events: &mut Events,
    ) -> Result<(), String> {
        let Mark::Stamp(stamp) = batch.mark else { return Ok(()) };
        match verdict {
            Verdict::Entry | Verdict::Claim => {
                let before = process.unknown.len();
                process.unknown.retain(|unknown| !unknown.is(stamp));
                let was_unknown = process.unknown.len() < before;
                let is_ours = matches!(&process.role, Role::Writer(writer) if writer.wrote(stamp));
                if verdict == Verdict::Entry && (was_unknown || !is_ours) {
                    process.entries += 1;
                }
                if was_unknown {
                    events.add(Event::UnknownFound);
                }
                if verdict == Verdict::Claim {
                    self.settle_unknown(process, stamp.term, events);
                }
            }
            Verdict::Dead(dead) => events.add(Event::of(dead)),
            Verdict::Foreign | Verdict::Control => return Err(format!("{stamp:?} is taken for {verdict:?}")),
        }
        Ok(())
    }

    /// A claim counts: what was unknown of terms before it, or of a claim beside it, never counts.
    fn settle_unknown(&mut self, process: &mut Process, term: u64, events: &mut Events) {
        let known_to = process.reading().next_offset;
        for unknown in process.unknown.extract_if(.., |unknown| unknown.stamp.term <= term) {
            events.add(Event::UnknownNever);
            if !process.is_cut {
                self.never_counts(unknown.author, unknown.call, known_to);
            }
        }
    }

    fn never_counts(&mut self, author: u8, call: usize, known_to: i64) {
        let never = Rc::make_mut(&mut self.never);
        never.push(Never { author, call, known_to });
        never.sort_unstable();
        never.dedup();
    }

    fn claim(&mut self, at: usize) -> Result<(), String> {
        self.spent.claims += 1;
        self.forget_attempts(at);
        let process = Rc::make_mut(&mut self.processes[at]);
        let author = self.spent.claims;
        let ledger = Ledger::claim(process.reading(), u64::from(author)).ok_or("there is no further term")?;
        process.role = Role::Writer(Writer::new(ledger, author));
        Ok(())
    }

    fn answer(&mut self, at: usize, call: usize, answer: Answer, events: &mut Events) -> Result<(), String> {
        let is_taken_out = match answer {
            Answer::Acknowledged(..) => false,
            Answer::Written => {
                self.spent.again += 1;
                events.add(Event::Again);
                false
            }
            Answer::Again { may_be_written } => {
                self.spent.again += 1;
                events.add(Event::Again);
                !may_be_written
            }
            Answer::Failed { may_be_written } => {
                self.spent.failed += 1;
                !may_be_written
            }
        };
        let Role::Writer(Writer { author, .. }) = self.processes[at].role else { return Ok(()) };
        Rc::make_mut(&mut self.network).end_attempt(author, call, is_taken_out);
        self.with_writer(at, events, |writer| {
            writer.in_flight.retain(|in_flight| *in_flight != call);
            if let Answer::Acknowledged(_, next) = answer {
                writer.acknowledged_to = writer.acknowledged_to.max(next);
            }
            writer.ledger.answered(writer.sequences[call], answer);
        })
    }

    fn with_writer(
        &mut self,
        at: usize,
        events: &mut Events,
        change: impl FnOnce(&mut Writer),
    ) -> Result<(), String> {
        let mut process = Process::clone(&self.processes[at]);
        let Role::Writer(writer) = &mut process.role else { return Ok(()) };
        change(writer);
        self.drain(&mut process, events)?;
        self.processes[at] = Rc::new(process);
        Ok(())
    }

    fn forget_attempts(&mut self, at: usize) {
        if let Role::Writer(writer) = &self.processes[at].role {
            let network = Rc::make_mut(&mut self.network);
            for &call in &writer.in_flight {
                network.end_attempt(writer.author, call, false);
            }
        }
    }

    /// Takes the results that there are, and holds each against the log.
    fn drain(&mut self, process: &mut Process, events: &mut Events) -> Result<(), String> {
        let log = Rc::clone(&self.log);
        let known_to = process.reading().next_offset;
        while let Role::Writer(writer) = &mut process.role
            && let Some((sequence, settled)) = writer.ledger.take_settled()
        {
            let open = writer.open.iter().position(|call| writer.sequences[*call] == sequence);
            let open = open.ok_or_else(|| format!("{sequence} is settled, and is not open"))?;
            let call = writer.open.remove(open);
            if writer.in_flight.contains(&call) {
                writer.in_flight.retain(|in_flight| *in_flight != call);
                Rc::make_mut(&mut self.network).end_attempt(writer.author, call, false);
            }
            let (author, stamp) = (writer.author, writer.stamp(call));
            match settled {
                Settled::Counts(base, next) => {
                    let fence = writer.ledger.fence_after(sequence);
                    if !process.is_cut {
                        let position = Reading { fence, next_offset: next };
                        Reference::of(&log).counts(author, call, base, position)?;
                    }
                    if call == 0 {
                        events.add(Event::ClaimCounts);
                        self.settle_unknown(process, stamp.term, events);
                    } else {
                        events.add(Event::Counts);
                        process.entries += 1;
                    }
                }
                Settled::NotWritten => {
                    events.add(Event::NotWritten);
                    if !process.is_cut {
                        self.never_counts(author, call, known_to);
                    }
                }
                Settled::Unknown => {
                    events.add(Event::Unknown);
                    process.unknown.push(Unknown { author, call, stamp });
                }
            }
        }
        if let Role::Writer(writer) = &process.role {
            match writer.ledger.end() {
                Some(End::Fenced { .. }) if writer.sequences.len() == 1 => events.add(Event::ClaimLost),
                Some(End::Fenced { .. }) => events.add(Event::Fenced),
                Some(End::Truncated { offset }) if self.spent.cuts == 0 => {
                    return Err(format!("the log is called truncated at {offset}, and was never cut"));
                }
                Some(End::Truncated { .. }) => events.add(Event::Truncated),
                _ => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, at: usize) -> Result<(), String> {
        let process = Rc::make_mut(&mut self.processes[at]);
        let Role::Writer(writer) = &mut process.role else { return Ok(()) };
        let Some(sequence) = writer.ledger.send() else { return Ok(()) };
        if writer.ledger.end().is_some() {
            return Err(format!("process {at} sends {sequence} after its end"));
        }
        let due = |call: &&usize| writer.sequences[**call] == sequence && !writer.in_flight.contains(*call);
        let call = *writer.open.iter().find(due).ok_or_else(|| format!("{sequence} is sent without need"))?;
        writer.in_flight.push(call);
        Rc::make_mut(&mut self.network).send(writer.author, call, writer.stamp(call));
        Ok(())
    }

    fn store(&mut self, at: usize) {
        self.spent.stores += 1;
        let process = Rc::make_mut(&mut self.processes[at]);
        process.stored = Point { reading: process.reading(), entries: process.entries };
        let offset = process.stored.reading.next_offset;
        let stored = Rc::make_mut(&mut self.stored);
        if let Err(place) = stored.binary_search(&offset) {
            stored.insert(place, offset);
        }
    }

    fn deliver(&mut self, request: usize, limits: &Limits) {
        let (author, call, stamp) = Rc::make_mut(&mut self.network).deliver(request);
        let batch_of_two = limits.wide && call % 2 == 1;
        self.put(Mark::Stamp(stamp), author, call, 1 + i64::from(batch_of_two));
    }

    fn put(&mut self, mark: Mark, author: u8, call: usize, records: i64) {
        let base = self.end();
        Rc::make_mut(&mut self.log).push(Batch { offsets: (base, base + records), mark, author, call });
    }

    /// The end of the log is lost, as by an unclean election.
    fn cut(&mut self, batches: usize) {
        self.spent.cuts += 1;
        Rc::make_mut(&mut self.log).truncate(batches);
        let end = self.end();
        for process in &mut self.processes {
            if process.knows_to() > end {
                Rc::make_mut(process).is_cut = true;
            }
        }
        Rc::make_mut(&mut self.never).retain(|never| never.known_to <= end);
    }

    /// What tells states apart beside its public parts.
    pub(super) fn rest(&self) -> impl Hash {
        (&self.stored, self.spent)
    }

    pub(super) fn end(&self) -> i64 {
        self.log.last().map_or(0, |batch| batch.offsets.1)
    }

    /// The batch that a broker gives there: none below the log's start.
    fn next_batch(&self, reading: Reading) -> Option<&Batch> {
        let offset = reading.next_offset;
        let next = self.log.iter().find(|batch| batch.offsets.1 > offset);
        next.filter(|_| offset >= self.log_start)
    }
}
