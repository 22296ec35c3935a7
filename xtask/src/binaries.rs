//! Binaries of tests and benches. Cargo builds them, and they run without it: side by side, and while it builds others.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde::Deserialize;

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
    let (status, messages) = children::run_read(cargo)?;
    ensure!(status.success(), "tests or benches do not build ({status})");
    Ok(messages.lines().filter_map(binary).collect())
}

/// The binary of a test or bench that a message of cargo's announces.
fn binary(message: &str) -> Option<Binary> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        target: Named,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }

    // Other messages have other fields.
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    let program = artifact.executable.filter(|_| artifact.profile.test)?;
    let folder = artifact.manifest_path.parent().unwrap_or(Path::new(".")).to_owned();
    Some(Binary { target: artifact.target.name, program, folder })
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
