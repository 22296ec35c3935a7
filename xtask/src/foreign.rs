//! The tests in which other clients talk to the fake: Kafka's own tools, and kafka-python.
//!
//! Invariant: what is missing on this machine is named, and its tests are skipped, not failed.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::children;
use crate::env::facts;
use crate::env::java::Java;
use crate::env::version::Version;
use crate::progress::Step;
use crate::workspace;

/// The test target, and the variables that tell it where the programs are.
pub(crate) const TARGET: &str = "foreign";
const JAVA: &str = "RSKAFKA_FOREIGN_JAVA";
const PYTHON: &str = "RSKAFKA_FOREIGN_PYTHON";

/// A client written in Python alone: it needs no compiler.
const PYTHON_CLIENT: &str = "kafka-python==3.0.12";

/// The programs, each with the variable that tells the tests of it.
pub(crate) type Found = Vec<(&'static str, OsString)>;

/// Looks for the programs, and downloads what they need; gives a warning for each that is missing, too.
pub(crate) fn programs() -> (Found, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (what, variable, program) in
        [("Kafka's own tools", JAVA, java()), ("the client in Python", PYTHON, python())]
    {
        match program {
            Ok(program) => found.push((variable, program.into())),
            Err(error) => missing.push(format!("NOT TESTED AGAINST THE FAKE: {what}: {error:#}")),
        }
    }
    (found, missing)
}

/// A program that runs a main class of the newest Kafka.
fn java() -> Result<PathBuf> {
    let version = Version::default();
    let program = workspace::target_dir().join("kafka").join(version.to_string()).join("java");
    let java = Java::for_kafka(&version)?;
    facts::write_program(&program, &java.command(128, "WARN", None))?;
    Ok(program)
}

/// A Python with the client, in a virtual environment below the target folder.
fn python() -> Result<PathBuf> {
    let folder = workspace::target_dir().join("python");
    let (python, installed) = (folder.join("bin/python"), folder.join("installed"));
    if fs::read_to_string(&installed).is_ok_and(|known| known == PYTHON_CLIENT) {
        return Ok(python);
    }
    let step = Step::start(format!("installing {PYTHON_CLIENT} below {}", folder.display()));
    let _ = fs::remove_dir_all(&folder);
    let failed = format!("a virtual environment with {PYTHON_CLIENT} cannot be made");
    children::succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder), &failed)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYTHON_CLIENT];
    children::succeed(Command::new(&python).args(pip), &failed)?;
    fs::write(&installed, PYTHON_CLIENT)?;
    step.done();
    Ok(python)
}
