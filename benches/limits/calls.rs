//! Counts the system calls of single appends with strace: noise has no say in them.

use std::fs;
use std::process::{Command, Stdio};

use rskafka::client::Client;
use serde_json::json;

use crate::sides::{new_topic, records, runtime};
use crate::{TOPIC, WRITTEN, payloads};

/// Of these lines, for a filter.
pub(crate) const NAME: &str = "calls";

/// The argument that has this program append so many records, one at a time.
pub(crate) const APPEND: &str = "--append";

/// What a run has more than another is what its further appends took: start and end are in both.
const APPENDS: (u32, u32) = (1_000, 5_000);

/// What 1,000 single appends may take of each, beside one write and one read for each.
const LIMITS: [(&str, u64); 3] = [("futex", 100), ("epoll_wait", 1_100), ("write", 0)];

/// Prints a line for each limit.
pub(crate) fn count(address: &str) {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("no strace: system calls are not counted");
        return;
    }
    let (few, many) = (run(address, APPENDS.0), run(address, APPENDS.1));
    for (call, limit) in LIMITS {
        let more = calls(&many, call).saturating_sub(calls(&few, call));
        let of_1000 = more * 1_000 / u64::from(APPENDS.1 - APPENDS.0);
        // Requests leave by `writev` or `sendto`: what `write` is called for is to wake another thread by an eventfd.
        let what = format!(
            "calls of {call} for 1,000 single appends by a task of the client's runtime of two threads"
        );
        println!(
            "{}",
            json!({ "name": format!("{NAME}-{call}"), "what": what, "allocations": [limit, of_1000] })
        );
    }
}

/// The table that strace writes.
fn run(address: &str, appends: u32) -> String {
    let program = std::env::current_exe().expect("this program's file");
    let table = std::env::temp_dir().join(format!("rskafka-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&table).arg(program).args([APPEND, address, &appends.to_string()]);
    let status = strace.status().expect("strace runs");
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

/// Appends records of 100 B one after the other.
pub(crate) fn append(address: &str, count: u32) {
    let runtime = runtime();
    let payloads = payloads(1, 100);
    let appends = runtime.spawn({
        let address = address.to_owned();
        async move {
            let client = Client::builder([address]).build().await.expect("a client");
            new_topic(&client, &payloads).await;
            let log = client.partition_client(TOPIC, WRITTEN).await.expect("a partition");
            for _ in 0..count {
                log.produce(records(&payloads)).await.expect("an append");
            }
        }
    });
    runtime.block_on(appends).expect("it ends");
}
