//! Processes that end with this command: on success, error, panic, Ctrl-C and SIGTERM.
//!
//! Invariant: spawning and ending hold the same lock, so a signal finds either no process or a registered one. Each child leads its
//! own process group: a child of a child (cargo's test binary) ends with it, and the terminal's Ctrl-C does not reach a broker
//! that outlives the command.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::process::{self, Process};
use crate::say::counted;
use crate::workspace;

/// With the time that each gets between SIGTERM and SIGKILL.
static OWNED: Mutex<Vec<(Process, Duration)>> = Mutex::new(Vec::new());

/// Time that an interrupted cargo gets to clean up.
pub(crate) const COMMAND_GRACE: Duration = Duration::from_secs(2);

/// How many commands have had their output kept: each has a file of its own.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// How often a logged command is looked at, and how often the last line of its log is shown.
const POLL: Duration = Duration::from_millis(50);
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

static KEEPS_OUTPUT: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C, SIGTERM and SIGHUP end every owned process before this one.
pub(crate) fn end_with_this_process() -> Result<()> {
    ctrlc::set_handler(|| {
        // Held until the exit, so that no process is spawned and no child's death is reported as an error meanwhile.
        let owned = registry();
        note!("\ninterrupted: ending {}", counted(owned.len(), "process", "processes"));
        let (gentle, hard): (Vec<_>, Vec<_>) = owned.iter().partition(|(_, grace)| !grace.is_zero());
        end(&gentle);
        end(&hard);
        std::process::exit(130);
    })
    .context("cannot watch for Ctrl-C")
}

fn end(owned: &[(Process, Duration)]) {
    let grace = owned.iter().map(|(_, grace)| *grace).max().unwrap_or_default();
    let processes: Vec<Process> = owned.iter().map(|(process, _)| *process).collect();
    for process in process::end(&processes, grace) {
        note!("process {} does not end", process.pid);
    }
}

fn registry() -> MutexGuard<'static, Vec<(Process, Duration)>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running child; dropping it ends it.
#[must_use]
pub(crate) struct Owned {
    /// What runs.
    pub(crate) process: Process,
    child: Child,
}

impl Owned {
    /// Starts `command` as a group of its own. On the way out it gets SIGTERM and `grace`, then SIGKILL; without grace
    /// it gets SIGKILL at once.
    pub(crate) fn spawn(command: &mut Command, grace: Duration) -> Result<Owned> {
        let mut owned = registry();
        // What cargo told xtask of its package is wrong below: ring's build script watches it, so that a cargo would build
        // ring and all that depends on it again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let process = Process::with_pid(child.id())
            .ok_or_else(|| anyhow!("/proc has no process {}: environments need Linux", child.id()))?;
        owned.push((process, grace));
        Ok(Owned { process, child })
    }

    /// What it writes, if its standard output is piped.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("standard output is not piped")
    }

    /// What it reads, if its standard input is piped.
    pub(crate) fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("standard input is not piped")
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Lets it live on after this command.
    pub(crate) fn release(self) {
        registry().retain(|(process, _)| *process != self.process);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut owned = registry();
        // None if it was released.
        let ended: Vec<_> = owned.extract_if(.., |(process, _)| *process == self.process).collect();
        end(&ended);
        // Reaps it, so that its id is free.
        let _ = self.child.try_wait();
    }
}

/// Has all that runs here, but not with a log of its own, show what it prints only if it fails.
pub(crate) fn keep_output() {
    KEEPS_OUTPUT.store(true, Ordering::Relaxed);
}

pub(crate) fn keeps_output() -> bool {
    KEEPS_OUTPUT.load(Ordering::Relaxed)
}

/// Runs a command in the foreground; the error is `otherwise`, and how it ended.
pub(crate) fn succeed(command: &mut Command, otherwise: &str) -> Result<()> {
    let (status, _) = run_shown(command)?;
    ensure!(status.success(), "{otherwise} ({status})");
    Ok(())
}

/// Runs a command with all its output in a file, for at most `limit`; gives what it wrote. Its last line is shown now and then, and
/// at once that cargo waits for another cargo.
pub(crate) fn run_logged(command: &mut Command, log: &Path, limit: Duration) -> Result<(ExitStatus, String)> {
    let file = created(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    watch(command, log, limit)
}

fn created(file: &Path) -> Result<File> {
    File::create(file).with_context(|| format!("cannot write {}", file.display()))
}

/// Runs a command that writes to `log`.
fn watch(command: &mut Command, log: &Path, limit: Duration) -> Result<(ExitStatus, String)> {
    let mut owned = Owned::spawn(command.stdin(Stdio::null()), COMMAND_GRACE)?;
    let since = Instant::now();
    let (mut shown, mut has_told) = (since, false);
    let status = loop {
        if let Some(status) = owned.child.try_wait()? {
            break status;
        }
        ensure!(
            since.elapsed() < limit,
            "it did not end within {} s: see {}",
            limit.as_secs(),
            log.display()
        );
        std::thread::sleep(POLL);
        let last = last_line(log);
        if !has_told && waits_for_build(&last) {
            note!("another cargo is building in this target folder: waiting for it to end");
            has_told = true;
        }
        if shown.elapsed() >= SIGN_OF_LIFE {
            shown = Instant::now();
            note!("  after {} s: {last}", since.elapsed().as_secs());
        }
    };
    owned.wait()?;
    Ok((status, text_of(log)?))
}

fn text_of(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether cargo says that another cargo builds in the same folder. For a moment it may wait for the package cache too,
/// which all builds of this machine share.
fn waits_for_build(line: &str) -> bool {
    line.contains("Blocking waiting for file lock") && !line.contains("package cache")
}

fn last_line(log: &Path) -> String {
    let text = text_of(log).unwrap_or_default();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("nothing printed yet").trim().to_owned()
}

/// Runs a command; gives its standard output, each line of which is shown as it comes if it is for people.
fn run_piped(command: &mut Command, is_for_people: bool) -> Result<(ExitStatus, String)> {
    let mut owned = Owned::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()), COMMAND_GRACE)?;
    let mut text = String::new();
    for line in BufReader::new(owned.stdout()?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if is_for_people {
            say!("{line}");
        }
        text.extend([&line, "\n"]);
    }
    Ok((owned.wait()?, text))
}

/// Runs a command; gives its standard output, which is not for people: only standard error is shown. The error is `otherwise`, and
/// how it ended.
pub(crate) fn read(command: &mut Command, otherwise: &str) -> Result<String> {
    let (status, text) = if keeps_output() { run_kept(command, false)? } else { run_piped(command, false)? };
    ensure!(status.success(), "{otherwise} ({status})");
    Ok(text)
}

/// Runs a command, shows its standard output as it comes, and returns it.
pub(crate) fn run_shown(command: &mut Command) -> Result<(ExitStatus, String)> {
    if keeps_output() { run_kept(command, true) } else { run_piped(command, true) }
}

/// Runs a command, and shows what it prints only if it fails; gives its standard output, which is not shown if it is not for
/// people.
fn run_kept(command: &mut Command, is_for_people: bool) -> Result<(ExitStatus, String)> {
    let [log, out] = [kept("log")?, kept("out")?];
    let file = created(&log)?;
    command.stdout(if is_for_people { file.try_clone()? } else { created(&out)? }).stderr(file);
    let outcome = watch(command, &log, NO_LIMIT).and_then(|(status, printed)| {
        if !status.success() {
            say!("{}", printed.trim_end());
        }
        Ok((status, if is_for_people { printed } else { text_of(&out)? }))
    });
    let _ = [log, out].map(fs::remove_file);
    outcome
}

/// A new file for what a command prints.
fn kept(extension: &str) -> Result<PathBuf> {
    let logs = workspace::target_dir().join("xtask");
    fs::create_dir_all(&logs)?;
    let number = KEPT.fetch_add(1, Ordering::Relaxed);
    Ok(logs.join(format!("output-{}-{number}.{extension}", std::process::id())))
}

/// The end of a log, and where it is.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 25;
    let text = text_of(log).unwrap_or_else(|error| format!("{error:#}"));
    let lines: Vec<&str> = text.lines().collect();
    format!("{}\n(whole log: {})", lines[lines.len().saturating_sub(LINES)..].join("\n"), log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lock_of_the_target_folder_is_another_build() {
        assert!(waits_for_build("    Blocking waiting for file lock on build directory"));
        assert!(waits_for_build("    Blocking waiting for file lock on artifact directory"));
        assert!(!waits_for_build("    Blocking waiting for file lock on package cache"));
        assert!(!waits_for_build("   Compiling xtask"));
    }
}
