//! What tests are told of an environment: a file of `key=value` lines, whose path is in `KAFKA_ENVIRONMENT`.
//!
//! Invariant: it names only what belongs to this environment, so a test that follows it touches nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::env::config::{Endpoint, Node, join};
use crate::env::listeners::{INTERNAL, LISTENERS, PASSWORD, SESSION_MS, USER};
use crate::process::Process;

/// The variable with the path of the file.
pub(crate) const VARIABLE: &str = "KAFKA_ENVIRONMENT";

/// The file, in the folder of the environment; there too are the folder of the certificates that clients need, Java with Kafka's
/// classes, which runs the program in the file that it is given, and what stands for Kafka's `kafka-console-consumer.sh` and
/// `kafka-console-producer.sh`.
pub(crate) const FILE: &str = "environment";
pub(crate) const CERTIFICATES: &str = "certificates";
pub(crate) const JAVA: &str = "java";
pub(crate) const CONSOLE_CONSUMER: &str = "console-consumer";
pub(crate) const CONSOLE_PRODUCER: &str = "console-producer";

/// Writes the file.
pub(crate) fn write(
    folder: &Path,
    version: &str,
    nodes: &[Node],
    processes: &[(String, Process)],
) -> Result<()> {
    let mut text = format!("version={version}\n");
    let brokers: Vec<&Node> = nodes.iter().filter(|node| node.role.is_broker()).collect();
    for listener in LISTENERS.iter().filter(|listener| listener.name != INTERNAL) {
        let endpoints = brokers.iter().flat_map(|broker| &broker.endpoints);
        let endpoints: Vec<&Endpoint> =
            endpoints.filter(|endpoint| endpoint.listener.name == listener.name).collect();
        let name = listener.name;
        text += &format!("listener.{name}={}\n", join(endpoints.iter().map(|endpoint| endpoint.address())));
        if listener.is_proxied {
            let advertised = endpoints.iter().map(|endpoint| endpoint.advertised_address());
            text += &format!("advertised.{name}={}\n", join(advertised));
        }
    }
    let pids = brokers.iter().filter_map(|broker| {
        let (_, process) = processes.iter().find(|(name, _)| *name == broker.name())?;
        Some(process.pid.to_string())
    });
    let logs = brokers.iter().map(|broker| server_log(folder, broker).display().to_string());
    let path = |name| folder.join(name).display().to_string();
    let fixed = [
        ("sasl.user", USER.to_owned()),
        ("sasl.password", PASSWORD.to_owned()),
        ("sasl.session.ms", SESSION_MS.to_string()),
        ("certificates", path(CERTIFICATES)),
        ("console.consumer", path(CONSOLE_CONSUMER)),
        ("console.producer", path(CONSOLE_PRODUCER)),
        ("java", path(JAVA)),
        ("broker.pids", join(pids)),
        ("broker.logs", join(logs)),
    ];
    fixed.iter().for_each(|(key, value)| text += &format!("{key}={value}\n"));
    Ok(fs::write(folder.join(FILE), text)?)
}

/// What a node logs.
pub(crate) fn server_log(folder: &Path, node: &Node) -> PathBuf {
    folder.join(node.name()).join("server.log")
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
