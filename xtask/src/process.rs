//! A process of this machine, known by its id *and* its start time.
//!
//! Invariant: no signal is ever sent to a process whose start time differs from the recorded one, so an id that the
//! kernel gave to somebody else in the meantime is never hit.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often a process that should end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the kernel may take to remove a process after SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// The leader of a process group: everything that xtask starts is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process id, which is the id of its group too.
    pub(crate) pid: i32,
    start_time: u64,
}

impl Process {
    /// The running process with this id.
    pub(crate) fn with_pid(pid: u32) -> Option<Process> {
        let pid = i32::try_from(pid).ok()?;
        let (_, start_time) = state_and_start_time(pid)?;
        Some(Process { pid, start_time })
    }

    /// Whether it still runs; one that ended and only waits for its parent (a zombie) does not.
    pub(crate) fn is_running(self) -> bool {
        state_and_start_time(self.pid).is_some_and(|(state, start_time)| {
            start_time == self.start_time && !"ZX".contains(state)
        })
    }

    fn signal(self, signal: Signal) {
        if self.is_running() {
            // It may end between the look and the signal; the next look tells.
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start_time)
    }
}

impl FromStr for Process {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Process> {
        let (pid, start_time) = text
            .split_once(' ')
            .ok_or_else(|| anyhow::anyhow!("not a process: {text:?}"))?;
        Ok(Process {
            pid: pid.parse()?,
            start_time: start_time.parse()?,
        })
    }
}

/// Ends all of them with their groups: SIGTERM, at most `grace` of waiting, SIGKILL. Returns those that still run.
pub(crate) fn end(processes: &[Process], grace: Duration) -> Vec<Process> {
    if !grace.is_zero() {
        processes.iter().for_each(|p| p.signal(Signal::SIGTERM));
        wait_for_end(processes, grace);
    }
    processes.iter().for_each(|p| p.signal(Signal::SIGKILL));
    wait_for_end(processes, KILL_WAIT)
}

fn wait_for_end(processes: &[Process], at_most: Duration) -> Vec<Process> {
    let deadline = Instant::now() + at_most;
    loop {
        let running: Vec<Process> = processes
            .iter()
            .copied()
            .filter(|p| p.is_running())
            .collect();
        if running.is_empty() || Instant::now() >= deadline {
            return running;
        }
        std::thread::sleep(POLL);
    }
}

fn state_and_start_time(pid: i32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): the command name (field 2) may hold blanks and brackets, so fields count from behind the last `)`:
/// state is field 3, starttime field 22.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(22 - 4)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn stat_of_a_command_with_brackets_and_blanks_is_read() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 8192 1";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
    }

    #[test]
    fn a_process_with_another_start_time_is_not_signalled() {
        let mut child = Command::new("sleep")
            .arg("60")
            .process_group(0)
            .spawn()
            .unwrap();
        let process = Process::with_pid(child.id()).unwrap();
        let stranger = Process {
            start_time: process.start_time + 1,
            ..process
        };
        assert!(!stranger.is_running());
        assert_eq!(end(&[stranger], Duration::from_millis(100)), []);
        assert!(process.is_running());

        assert_eq!(end(&[process], Duration::from_secs(10)), []);
        assert!(!process.is_running());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_reads_back_as_it_was_written() {
        let process = Process::with_pid(std::process::id()).unwrap();
        assert_eq!(process.to_string().parse::<Process>().unwrap(), process);
        assert!(process.is_running());
    }
}
