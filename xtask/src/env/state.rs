//! What is known of an environment between commands: a JSON file in its folder.
//!
//! Invariant: it is written after each start of a process, so that all running processes can be found and ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::workspace;

const FILE: &str = "state.json";

/// One environment.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: String,
    /// The command that it ends with; none for one that stays.
    pub(crate) owner: Option<Process>,
    /// Address of each broker.
    pub(crate) connect: Vec<String>,
    /// Name and process of each node.
    pub(crate) nodes: Vec<(String, Process)>,
}

impl State {
    /// The state in this folder; none if no environment was started there.
    pub(crate) fn read(folder: &Path) -> Result<Option<State>> {
        let file = folder.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        // Renamed, so that no reader finds half of it.
        let new = folder.join("state.new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        Ok(fs::rename(new, folder.join(FILE))?)
    }

    /// Those of its processes that run.
    pub(crate) fn running(&self) -> Vec<Process> {
        self.nodes.iter().map(|(_, process)| *process).filter(|process| process.is_running()).collect()
    }
}

/// Waits, and says so, until no other command starts or ends the environment of this name. The lock is held until the file is
/// dropped; the kernel gives it back if the command is killed.
pub(crate) fn lock(name: &str) -> Result<Flock<File>> {
    // Not in the environment's own folder, which is removed and made again.
    let folder = workspace::target_dir().join("env-locks");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock).or_else(|(file, _)| {
        note!("another command is starting or ending {name}: waiting for it");
        Flock::lock(file, FlockArg::LockExclusive)
    });
    locked.map_err(|(_, error)| error).with_context(|| format!("cannot lock {}", path.display()))
}

/// The folder of the environment with this name.
pub(crate) fn folder(name: &str) -> PathBuf {
    workspace::target_dir().join("env").join(name)
}

/// The names of all environments that have a folder.
pub(crate) fn names() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder("")) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_it_was_written() {
        let me = Process::with_pid(std::process::id()).unwrap();
        let state = State {
            version: "4.4.0".to_owned(),
            owner: Some(me),
            connect: vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()],
            nodes: vec![("controller".to_owned(), me), ("broker-1".to_owned(), me)],
        };
        let folder = std::env::temp_dir().join(format!("xtask-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(State::read(&folder).unwrap(), None);
        state.write(&folder).unwrap();
        assert_eq!(State::read(&folder).unwrap().as_ref(), Some(&state));
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(state.running().len(), 2);
    }
}
