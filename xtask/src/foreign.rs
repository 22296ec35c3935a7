//! The tests in which other clients talk to the fake: Kafka's own tools, and kafka-python.
//!
//! Invariant: what is missing on this machine is named, and its tests are skipped, not failed.

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

/// What the search for the programs came to.
pub(crate) struct Programs {
    /// Each with the variable that tells the tests of it.
    pub(crate) found: Vec<(&'static str, PathBuf)>,
    /// A warning for each that is missing.
    pub(crate) missing: Vec<String>,
}

/// Looks for the programs, and downloads what they need.
pub(crate) fn programs() -> Programs {
    let mut programs = Programs { found: Vec::new(), missing: Vec::new() };
    for (what, variable, program) in
        [("Kafka's own tools", JAVA, java()), ("the client in Python", PYTHON, python())]
    {
        match program {
            Ok(program) => programs.found.push((variable, program)),
            Err(error) => {
                programs.missing.push(format!("NOT TESTED AGAINST THE FAKE: {what}: {error:#}"));
            }
        }
    }
    programs
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
