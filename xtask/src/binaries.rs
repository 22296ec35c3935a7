//! Binaries of tests and benches. Cargo builds them, and they run without it: side by side, and while it builds others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::children;

/// What was built for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    /// The name of the target.
    pub(crate) target: String,
    pub(crate) program: PathBuf,
    /// Of its package, in which cargo would run it.
    folder: PathBuf,
}

impl Binary {
    /// Runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        command
    }
}

/// Builds what this `cargo test` or `cargo bench` would run.
pub(crate) fn built(cargo: &mut Command) -> Result<Vec<Binary>> {
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let messages = children::read(cargo, "tests or benches do not build")?;
    Ok(messages.lines().filter_map(binary).collect())
}

/// The binary of a test or bench that a message of cargo's announces.
fn binary(message: &str) -> Option<Binary> {
    // Other messages have other fields.
    let message: Value = serde_json::from_str(message).ok()?;
    let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?.into();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(Binary { target: message["target"]["name"].as_str()?.to_owned(), program, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_about_a_test_names_a_test() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","target":{{"name":"it"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let expected = Binary { target: "it".to_owned(), program: "/b/it-1".into(), folder: "/a".into() };
        assert_eq!(binary(&message(true, "\"/b/it-1\"")), Some(expected));
        assert_eq!(binary(&message(false, "\"/b/it-1\"")), None);
        assert_eq!(binary(&message(true, "null")), None);
        assert_eq!(binary(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(binary("warning: unused"), None);
    }
}
