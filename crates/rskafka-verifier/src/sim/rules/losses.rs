//! The rules for a writer whose acknowledged records are lost: the client tells it, before anything behind them is
//! acknowledged. What a client cannot notice is no finding: see [`Losses::acknowledged`].

use super::{Fate, REACH, Sent};

/// Who led the partition, and in which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Term {
    pub(in crate::sim) epoch: i32,
    pub(in crate::sim) leader: i32,
}

/// What the present partition client of a writer was told, and has lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The number of its first record.
    pub(super) first: usize,
    /// The last of its records, in the order of the calls, that was acknowledged: number, offset, and when.
    pub(super) last: Option<(u32, i64, Option<Term>)>,
    /// That record is lost.
    pub(super) is_lost: Option<Lost>,
    /// The lowest offset at which the log was cut while this client had something to lose.
    pub(super) lowest_cut: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    /// The broker over whose connection the client would have to go on to miss it.
    led_by: Option<i32>,
    /// The partition surely refuses the next record as out of sequence, unless another leader is asked first.
    is_remembered: bool,
}

impl Losses {
    /// A record was acknowledged; gives what is wrong with that. `term` is the one in which it was, if that is known; `is_new`
    /// tells that it was sent after the last cut.
    ///
    /// A loss shows in the offset, if that is not behind those before it; in what the partition answers, if it remembers
    /// the producer; and over a new connection to another leader, where a client looks first.
    pub(super) fn acknowledged(
        &mut self,
        number: u32,
        offset: i64,
        term: Option<Term>,
        is_new: bool,
    ) -> Option<String> {
        let Some((last, at, _)) = self.last else {
            self.last = Some((number, offset, term));
            return None;
        };
        let is_later = number > last;
        let mut wrong = if is_later { offset <= at } else { offset >= at };
        if is_later {
            let lost = self.is_lost.take().filter(|_| is_new);
            wrong |= lost.is_some_and(|Lost { led_by, is_remembered }| {
                let is_elsewhere = led_by.zip(term).is_some_and(|(before, now)| now.leader != before);
                is_elsewhere || (is_remembered && number == last + 1)
            });
            self.last = Some((number, offset, term));
        }
        let what = || {
            format!(
                "record {number} was acknowledged at offset {offset}, record {last} at offset {at} before"
            )
        };
        wrong.then(what)
    }

    /// The brokers have forgotten the producer: its next record is taken as well.
    pub(super) fn forgotten(&mut self) {
        self.is_lost.iter_mut().for_each(|lost| lost.is_remembered = false);
    }

    /// The log was cut at an offset. `records` are all of the writer, before the cut.
    pub(super) fn cut(&mut self, at: i64, term: Option<Term>, log_start: i64, records: &[Sent]) {
        let own = records.get(self.first..).unwrap_or_default();
        // A call that was dropped may have been acknowledged to the client.
        let may_be_lost = |sent: &Sent| match sent.fate {
            Fate::Acked(offset) => offset >= at,
            Fate::NotWritten => false,
            _ => true,
        };
        if own.iter().any(may_be_lost) {
            self.lowest_cut = Some(self.lowest_cut.map_or(at, |lowest| lowest.min(at)));
        }
        self.is_lost = None;
        if let Some((last, offset, acknowledged_in)) = self.last
            && offset >= at
        {
            let is_kept = |sent: &Sent| {
                matches!(sent.fate, Fate::Acked(offset) if (log_start..at).contains(&offset))
                    && !sent.may_be_copied
            };
            let behind = (last as usize + 1).saturating_sub(self.first).min(own.len());
            let before = &own[..behind];
            let is_acknowledged = |sent: &Sent| matches!(sent.fate, Fate::Acked(_));
            let led_by = acknowledged_in.filter(|known| Some(*known) == term).map(|known| known.leader);
            let is_remembered = term.is_some()
                && before.iter().any(is_kept)
                && before.iter().rev().take(REACH).all(is_acknowledged);
            self.is_lost = Some(Lost { led_by, is_remembered });
        }
    }
}
