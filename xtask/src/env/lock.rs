//! One command at a time for each environment: a second one waits, and says so.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::workspace;

/// Waits until no other command starts or ends the environment of this name. The lock is held until the file is dropped; the
/// kernel gives it back if the command is killed.
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
