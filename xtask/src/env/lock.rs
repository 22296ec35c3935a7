//! One command at a time for each environment: a second one waits, and says so.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::workspace;

/// Held until it is dropped; the kernel gives it back if the command is killed.
#[must_use]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Waits until no other command starts or ends the environment of this name.
    pub(crate) fn of(name: &str) -> Result<Lock> {
        // Not in the environment's own folder, which is removed and made again.
        let folder = workspace::target_dir().join("env-locks");
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock).or_else(|(file, error)| {
            if error == Errno::EWOULDBLOCK {
                note!("another command is starting or ending {name}: waiting for it");
            }
            Flock::lock(file, FlockArg::LockExclusive)
        });
        let file =
            locked.map_err(|(_, error)| error).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Lock { _file: file })
    }
}
