//! Cargo's subcommands that do not come with it: one that is installed already is taken, else it is built below the
//! target folder. Nothing is written into the user's cargo home but what every build writes there.

use std::process::Command;

use anyhow::Result;

use crate::progress::Step;
use crate::{children, workspace};

/// `cargo NAME`, installed if it is missing.
pub(crate) fn cargo(name: &str) -> Result<Command> {
    if workspace::cargo().args([name, "--version"]).output().is_ok_and(|output| output.status.success()) {
        let mut installed = workspace::cargo();
        installed.arg(name);
        return Ok(installed);
    }
    let root = workspace::target_dir().join("tools");
    let program = root.join("bin").join(format!("cargo-{name}"));
    if !program.is_file() {
        let step = Step::start(format!("building cargo-{name}, once, which takes minutes"));
        let mut install = workspace::cargo();
        install.args(["install", &format!("cargo-{name}"), "--locked", "--quiet", "--root"]).arg(&root);
        install.arg("--target-dir").arg(root.join("build"));
        children::succeed(&mut install, &format!("`cargo install cargo-{name} --locked` failed"))?;
        step.done();
    }
    let mut command = Command::new(program);
    command.arg(name).current_dir(workspace::root());
    Ok(command)
}
