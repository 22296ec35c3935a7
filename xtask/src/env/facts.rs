//! What tests are told of an environment: a file of `key=value` lines, whose path is in `KAFKA_ENVIRONMENT`.
//!
//! Invariant: it names only what belongs to this environment, so a test that follows it touches nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The variable with the path of the file.
pub(crate) const VARIABLE: &str = "KAFKA_ENVIRONMENT";

/// Where the file of the environment in this folder is.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("environment")
}

/// Writes the file.
pub(crate) fn write(folder: &Path, facts: &[(&str, String)]) -> Result<()> {
    let text: String = facts.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    Ok(fs::write(file(folder), text)?)
}

/// Makes a command a program of its own, which hands on its arguments: a command with arguments would have to be taken apart.
pub(crate) fn write_program(path: &Path, command: &Command) -> Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_str().map(quoted).context("a path is not UTF-8"));
    let words = words.collect::<Result<Vec<_>>>()?;
    fs::write(path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_hands_on_its_words_and_its_arguments() {
        let folder = std::env::temp_dir().join(format!("xtask-facts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("print");
        let mut command = Command::new("printf");
        command.args(["%s|", "it's", "a * $HOME", ""]);
        write_program(&program, &command).unwrap();
        // By `sh`: a child of another test may still hold the file open for writing, and such a file cannot be executed.
        let output = Command::new("sh").arg(&program).args(["last one", "\"x\""]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's|a * $HOME||last one|\"x\"|");
        fs::remove_dir_all(&folder).unwrap();
    }
}
