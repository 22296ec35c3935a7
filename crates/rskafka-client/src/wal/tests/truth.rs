//! What must hold: the guarantees, against the whole log read from its first batch.

use super::super::fence::{Damage, Dead, Reading, Verdict};
use super::limits::Limits;
use super::parts::{Batch, Process, Role, Writer};
use super::world::World;

/// What the rule says of the whole log.
#[derive(Debug)]
pub(super) struct Reference<'log> {
    log: &'log [Batch],
    passed: Vec<Passed>,
    damage: Option<Damage>,
}

/// Up to and with a batch.
#[derive(Debug, Clone, Copy)]
struct Passed {
    verdict: Verdict,
    reading: Reading,
    /// Entries that count.
    entries: u8,
}

impl<'log> Reference<'log> {
    pub(super) fn of(log: &'log [Batch]) -> Self {
        let (mut reading, mut entries) = (Reading::default(), 0);
        let mut passed = Vec::with_capacity(log.len());
        for batch in log {
            match reading.pass(batch.offsets, batch.mark) {
                Ok(verdict) => {
                    entries += u8::from(verdict == Verdict::Entry);
                    passed.push(Passed { verdict, reading, entries });
                }
                Err(damage) => return Self { log, passed, damage: Some(damage) },
            }
        }
        Self { log, passed, damage: None }
    }

    /// Whether what was acknowledged at this offset counts there, and leads to this position.
    pub(super) fn counts(&self, author: u8, call: usize, base: i64, position: Reading) -> Result<(), String> {
        let said = format!("call {call} of writer {author} was said to count at {base}");
        let at = self.log.iter().position(|batch| batch.offsets.0 == base).ok_or_else(|| said.clone())?;
        let passed = self.passed.get(at).ok_or_else(|| said.clone())?;
        if !self.log[at].is(author, call) {
            return Err(format!("{said}, where another batch is"));
        }
        if !matches!(passed.verdict, Verdict::Claim | Verdict::Entry) {
            return Err(format!("{said}, where it is {:?}", passed.verdict));
        }
        if passed.reading != position {
            return Err(format!("{said}, with {position:?} and not {:?}", passed.reading));
        }
        Ok(())
    }

    /// What is known by one that has read up to there.
    fn at(&self, offset: i64) -> Option<(Reading, u8)> {
        if offset == 0 {
            return Some((Reading::default(), 0));
        }
        let passed = self.passed.iter().find(|passed| passed.reading.next_offset == offset)?;
        Some((passed.reading, passed.entries))
    }

    fn counting(&self) -> impl Iterator<Item = &Batch> {
        let counts = |passed: &Passed| matches!(passed.verdict, Verdict::Claim | Verdict::Entry);
        self.log.iter().zip(&self.passed).filter(move |(_, passed)| counts(passed)).map(|(batch, _)| batch)
    }
}

impl World {
    /// What must hold in every state.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), String> {
        let reference = Reference::of(&self.log);
        if let Some(damage) = reference.damage
            && limits.cuts == 0
        {
            return Err(format!("the log cannot be read: {damage:?}"));
        }
        self.check_log(&reference)?;
        for process in self.processes.iter().filter(|process| !process.is_cut) {
            check_process(process, &reference)?;
            self.check_log_start(process)?;
            if let Role::Writer(writer) = &process.role {
                self.check_writer(writer)?;
            }
        }
        Ok(())
    }

    /// What counts does so once, in the order of its writer's calls, behind its own claim and before the next.
    fn check_log(&self, reference: &Reference<'_>) -> Result<(), String> {
        let (mut author, mut next_call) = (0, 0);
        let mut seen = 0_u64;
        for batch in reference.counting() {
            if batch.call == 0 && seen & 1 << batch.author == 0 {
                seen |= 1 << batch.author;
                (author, next_call) = (batch.author, 0);
            }
            if batch.author != author || batch.call < next_call {
                return Err(format!("it counts again, or in another's term: {batch:?}"));
            }
            if batch.call > next_call {
                return Err(format!("it counts without the one before it: {batch:?}"));
            }
            next_call += 1;
        }
        for never in self.never.iter() {
            if let Some(batch) = reference.counting().find(|batch| batch.is(never.author, never.call)) {
                return Err(format!("it was called not written, and counts: {batch:?}"));
            }
        }
        Ok(())
    }

    /// What is open gets its result: something is under way for it.
    fn check_writer(&self, writer: &Writer) -> Result<(), String> {
        let wanted = writer.ledger.wants_read_to();
        // What is written at an offset that nobody tells may be anywhere.
        if wanted.is_some_and(|offset| offset > self.end() && offset < i64::MAX) {
            return Err(format!("writer {} wants to read up to {wanted:?}", writer.author));
        }
        let is_moving =
            wanted.is_some() || !writer.in_flight.is_empty() || writer.ledger.clone().send().is_some();
        if !writer.open.is_empty() && !is_moving {
            return Err(format!(
                "nothing moves the open calls {:?} of writer {}",
                writer.open, writer.author
            ));
        }
        Ok(())
    }

    /// A process whose position lies below the log's start is refused: the rule takes no batch behind a hole.
    fn check_log_start(&self, process: &Process) -> Result<(), String> {
        let mut reading = process.reading();
        let first = self.log.iter().find(|batch| batch.offsets.0 >= self.log_start);
        if let Some(first) = first
            && reading.next_offset < self.log_start
            && reading.pass(first.offsets, first.mark) != Err(Damage::Hole)
        {
            return Err(format!("a process was moved from {:?} to the log's start", process.reading()));
        }
        Ok(())
    }
}

/// It knows what everyone else who reads so far knows, also its own entries: so a claim of its own that counts is made by
/// one that has seen everything before it.
fn check_process(process: &Process, reference: &Reference<'_>) -> Result<(), String> {
    let found = (process.reading(), process.entries);
    for (reading, entries) in [found, (process.stored.reading, process.stored.entries)] {
        if reference.at(reading.next_offset) != Some((reading, entries)) {
            return Err(format!(
                "a process knows {entries} entries at {reading:?}, and not {:?}",
                reference.at(reading.next_offset)
            ));
        }
    }
    Ok(())
}

/// What a search has met: a rule that never comes into play is not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    ClaimCounts,
    ClaimLost,
    Counts,
    Fenced,
    NotWritten,
    Unknown,
    UnknownFound,
    UnknownNever,
    Again,
    OlderTerm,
    Copy,
    OutOfTurn,
    Truncated,
}

impl Event {
    pub(super) fn of(dead: Dead) -> Self {
        match dead {
            Dead::OlderTerm => Self::OlderTerm,
            Dead::Copy => Self::Copy,
            Dead::OutOfTurn => Self::OutOfTurn,
        }
    }
}

/// A set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Events(u16);

impl Events {
    pub(super) fn add(&mut self, event: Event) {
        self.0 |= 1 << event as u16;
    }

    pub(super) fn add_all(&mut self, events: Self) {
        self.0 |= events.0;
    }

    pub(super) fn has(self, event: Event) -> bool {
        self.0 & 1 << event as u16 != 0
    }
}
