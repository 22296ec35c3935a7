//! Counts the system calls of appends with strace: noise has no say in them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::broker::runtime;
use crate::cases::ONE;
use crate::side::{Call, Work};
use crate::{ours, sides};

/// Of these lines, for a filter.
pub(crate) const NAME: &str = "calls";

/// What a run has more than another is what its further calls took: start and end are in both.
const CALLS: (u32, u32) = (1_000, 5_000);

/// What 1,000 calls may take of each, beside one write and one read for each.
const LIMITS: [(&str, u64); 3] = [("futex", 100), ("epoll_wait", 1_100), ("write", 0)];

/// Prints a line for each limit.
pub(crate) fn count(address: &str) {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("no strace: system calls are not counted");
        return;
    }
    for (records, what) in [(1, "single appends"), (1_000, "appends of 1,000 records, 1 in flight,")] {
        let work = Work { records, address: address.to_owned(), ..work() };
        runtime().block_on(ours::new_topic(address, &work));
        let (few, many) = (run(&work, CALLS.0), run(&work, CALLS.1));
        for (call, limit) in LIMITS {
            let more = calls(&many, call).saturating_sub(calls(&few, call));
            let of_1000 = more * 1_000 / u64::from(CALLS.1 - CALLS.0);
            // Requests leave by `writev` or `sendto`: what `write` is called for is to wake another thread by an eventfd.
            let what =
                format!("calls of {call} for 1,000 {what} by a task of the client's runtime of two threads");
            println!(
                "{}",
                json!({ "name": format!("{NAME}-{records}-{call}"), "what": what, "allocations": [limit, of_1000] })
            );
        }
    }
}

/// One record at a time.
pub(crate) fn work() -> Work {
    Work {
        call: Call::Produce,
        records: 1,
        size: 100,
        is_lz4: false,
        in_flight: 1,
        partitions: 1,
        callers: 1,
        timestamp: sides::now(),
        address: String::new(),
        through: String::new(),
    }
}

/// The table that strace writes.
fn run(work: &Work, calls: u32) -> String {
    let side = sides::command(ONE, work).expect("this program's file");
    let table = std::env::temp_dir().join(format!("rskafka-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&table).arg(side.get_program()).args(side.get_args());
    let mut strace = strace.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("strace runs");
    writeln!(strace.stdin.take().expect("it is piped"), "{calls}").expect("the side reads");
    let status = strace.wait().expect("strace ends");
    assert!(status.success(), "the appends failed: {status}");
    let counted = fs::read_to_string(&table).expect("strace writes its table");
    let _ = fs::remove_file(table);
    counted
}

/// How often a system call was made: its row is `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn calls(table: &str, name: &str) -> u64 {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut of_name = rows.filter(|row| row.last() == Some(&name));
    of_name.next().and_then(|row| row.get(3)?.parse().ok()).unwrap_or(0)
}
