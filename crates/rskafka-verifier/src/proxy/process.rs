//! Stops and resumes a broker's process.
//!
//! Invariant: a process is identified by pid and start time, so a pid that was reused is never signalled. A stopped
//! process resumes when its guard is dropped.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use crate::stat::Stat;

/// How often a process that should stand still is looked at, and for how long.
const POLL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// A running process of this machine; Linux only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerProcess {
    pid: i32,
    start_time: u64,
}

impl BrokerProcess {
    /// The process that has this id now.
    ///
    /// # Errors
    ///
    /// There is none, or this is not Linux.
    pub fn with_pid(pid: u32) -> io::Result<Self> {
        let none = || io::Error::new(io::ErrorKind::NotFound, format!("/proc has no process {pid}"));
        let pid = i32::try_from(pid).map_err(|_| none())?;
        let stat = Stat::of(format!("/proc/{pid}/stat")).ok_or_else(none)?;
        Ok(Self { pid, start_time: stat.start_time })
    }

    /// Stops it, and waits until each of its threads stands still.
    ///
    /// # Errors
    ///
    /// The process is gone or not ours, or does not stop in 5 s.
    pub async fn stop(self) -> io::Result<Stopped> {
        self.signal(Signal::SIGSTOP)?;
        let stopped = Stopped { process: self };
        let standing = async {
            while !self.stands_still() {
                sleep(POLL).await;
            }
        };
        let runs_on = |_| io::Error::new(io::ErrorKind::TimedOut, format!("process {} runs on", self.pid));
        timeout(PATIENCE, standing).await.map_err(runs_on)?;
        Ok(stopped)
    }

    fn stands_still(self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
        // A thread that has ended in the meantime is as still as can be.
        let mut stats = threads.filter_map(|thread| Stat::of(thread.ok()?.path().join("stat")));
        stats.all(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X'))
    }

    fn signal(self, signal: Signal) -> io::Result<()> {
        let now = u32::try_from(self.pid).map_err(io::Error::other).and_then(Self::with_pid)?;
        if now != self {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {} has ended", self.pid)));
        }
        Ok(kill(Pid::from_raw(self.pid), signal)?)
    }
}

/// A process that stands still until this is dropped.
#[derive(Debug)]
#[must_use = "the process goes on when this is dropped"]
pub struct Stopped {
    process: BrokerProcess,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed in the meantime.
        let _ = self.process.signal(Signal::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Echoes, until dropped.
    struct Echo(Child);

    impl Echo {
        fn start() -> Self {
            let mut cat = Command::new("cat");
            Self(cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    async fn a_stopped_process_stands_still_and_goes_on_when_the_guard_is_dropped() {
        let mut echo = Echo::start();
        let process = BrokerProcess::with_pid(echo.0.id()).unwrap();
        let stopped = process.stop().await.unwrap();
        assert!(process.stands_still());
        drop(stopped);
        echo.0.stdin.take().unwrap().write_all(b"still there").unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut echo.0.stdout.take().unwrap(), &mut said).unwrap();
        assert_eq!(said, "still there");
    }

    #[tokio::test]
    async fn an_id_that_went_to_another_process_is_not_signalled() {
        let echo = Echo::start();
        let mut process = BrokerProcess::with_pid(echo.0.id()).unwrap();
        process.start_time -= 1;
        assert_eq!(process.stop().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!BrokerProcess::with_pid(echo.0.id()).unwrap().stands_still());
    }
}
