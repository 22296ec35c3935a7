//! A record of all frames, by which two runs are compared.
//!
//! Invariant: the digest covers every frame's time, connection, direction, API, correlation id, size and
//! hash, whether lines are kept or not.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash};
use std::time::Duration;

use rskafka::protocol::ApiKey;

use super::frames::{Frame, Request};

/// The frames and events of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// `None` if only the digest is wanted.
    pub(super) lines: Option<String>,
    pub(super) digest: DefaultHasher,
    pub(super) frames: u64,
}

impl Trace {
    pub(super) fn new(keeps_lines: bool) -> Self {
        Self { lines: keeps_lines.then(String::new), ..Self::default() }
    }

    /// A frame that went over a connection to a broker. `request` is what it is, or answers; `None` for an answer to no
    /// request.
    pub(super) fn frame(
        &mut self,
        at: Duration,
        (connection, broker): (u64, i32),
        is_answer: bool,
        request: Option<Request>,
        frame: &Frame<'_>,
    ) {
        let (size, hash) = (frame.0.len(), crc32c::crc32c(frame.0));
        let correlation_id = if is_answer { frame.answers() } else { frame.request().correlation_id };
        self.frames += 1;
        (at, connection, is_answer, correlation_id, size, hash).hash(&mut self.digest);
        if let Some(lines) = &mut self.lines {
            let arrow = if is_answer { "<" } else { ">" };
            let of = |request: Request| format!("{} v{}", ApiKey(request.key), request.version);
            let api = request.map_or_else(|| "?".to_owned(), of);
            let _ = writeln!(
                lines,
                "{:>11.6} connection {connection} broker {broker} {arrow} {api} #{} {size} B {hash:08x}",
                at.as_secs_f64(),
                correlation_id.cast_signed(),
            );
        }
    }

    /// Adds another event to the lines.
    pub(super) fn note(&mut self, at: Duration, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let _ = writeln!(lines, "{:>11.6} {}", at.as_secs_f64(), what());
        }
    }
}
