//! A process of this machine, known by its id *and* its start time.
//!
//! Invariant: no signal is sent to a process whose start time differs from the recorded one, so a reused pid is never hit.

use std::time::{Duration, Instant};

pub(crate) use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::stat::Stat;

/// How often a process that should end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long the kernel may take to remove a process after SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// The leader of a process group: everything that xtask starts is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The process id, which is the id of its group too.
    pub(crate) pid: i32,
    start_time: u64,
}

impl Process {
    /// The running process with this id.
    pub(crate) fn with_pid(pid: u32) -> Option<Process> {
        let pid = i32::try_from(pid).ok()?;
        Some(Process { pid, start_time: stat(pid)?.start_time })
    }

    /// Whether it still runs; one that ended and only waits for its parent (a zombie) does not.
    pub(crate) fn is_running(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && runs(&stat))
    }

    /// Sends a signal to its group.
    pub(crate) fn signal(self, signal: Signal) -> nix::Result<()> {
        if self.is_running() { killpg(Pid::from_raw(self.pid), signal) } else { Err(nix::Error::ESRCH) }
    }

    /// The processes of its group, itself among them.
    fn group(self) -> Vec<Process> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let stats = pids.filter_map(|pid| Some((pid, stat(pid)?)));
        let group = stats.filter(|(_, stat)| stat.group == self.pid && runs(stat));
        group.map(|(pid, stat)| Process { pid, start_time: stat.start_time }).collect()
    }
}

fn stat(pid: i32) -> Option<Stat> {
    Stat::of(format!("/proc/{pid}/stat"))
}

fn runs(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X')
}

/// Ends the processes and their groups: SIGTERM, at most `grace` of waiting, SIGKILL. Returns those still running.
pub(crate) fn end(leaders: &[Process], grace: Duration) -> Vec<Process> {
    let leaders = leaders.iter().filter(|leader| leader.is_running());
    // Known before the first signal: the leader may be gone when a process of its group still has to be killed.
    let groups: Vec<(Process, Vec<Process>)> = leaders.map(|leader| (*leader, leader.group())).collect();
    let members: Vec<Process> = groups.iter().flat_map(|(_, group)| group).copied().collect();
    if !grace.is_zero() {
        signal(&groups, Signal::SIGTERM);
        wait_for_end(&members, grace);
    }
    signal(&groups, Signal::SIGKILL);
    wait_for_end(&members, KILL_WAIT)
}

/// While a known member runs, the group's id cannot have been reused.
fn signal(groups: &[(Process, Vec<Process>)], signal: Signal) {
    for (leader, _) in groups.iter().filter(|(_, group)| group.iter().any(|member| member.is_running())) {
        // It may end between the look and the signal; the wait tells.
        let _ = killpg(Pid::from_raw(leader.pid), signal);
    }
}

fn wait_for_end(processes: &[Process], at_most: Duration) -> Vec<Process> {
    let deadline = Instant::now() + at_most;
    loop {
        let running: Vec<Process> = processes.iter().copied().filter(|p| p.is_running()).collect();
        if running.is_empty() || Instant::now() >= deadline {
            return running;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_with_another_start_time_is_not_signalled() {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let process = Process::with_pid(child.id()).unwrap();
        let stranger = Process { start_time: process.start_time + 1, ..process };
        assert!(!stranger.is_running());
        assert_eq!(end(&[stranger], Duration::from_millis(100)), []);
        assert!(process.is_running());

        assert_eq!(end(&[process], Duration::from_secs(10)), []);
        assert!(!process.is_running());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ignores_sigterm_ends_after_its_leader() {
        let script = "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done' & wait";
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", script]).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        let leader = Process::with_pid(child.id()).unwrap();
        let group = leader.group();
        assert!(group.len() >= 2, "{group:?}");

        assert_eq!(end(&[leader], Duration::from_millis(300)), []);
        child.wait().unwrap();
        assert_eq!(wait_for_end(&leader.group(), Duration::from_secs(1)), []);
    }
}
