//! What the repository's checks run is what anybody can run: `.github/workflows/ci.yml` calls `cargo xtask`, and nothing else.

use std::process::Command;

use yaml_serde::Value;

use crate::read;

/// The steps that are neither a checkout nor a command of xtask.
fn others(workflow: &str) -> Vec<String> {
    let workflow: Value = yaml_serde::from_str(workflow).unwrap();
    let jobs = workflow["jobs"].as_mapping().unwrap().values();
    let steps: Vec<&Value> = jobs.flat_map(|job| job["steps"].as_sequence().unwrap()).collect();
    assert!(steps.len() > 2, "{steps:?}");
    let is_known = |step: &Value| match (step["uses"].as_str(), step["run"].as_str()) {
        (Some(uses), None) => uses.starts_with("actions/checkout@"),
        (None, Some(run)) => run.strip_prefix("cargo xtask ").is_some_and(is_taken),
        _ => false,
    };
    steps.into_iter().filter(|step| !is_known(step)).map(|step| format!("{step:?}")).collect()
}

/// Whether xtask takes these arguments: with `--help` behind them, it complains of wrong ones and runs nothing.
fn is_taken(arguments: &str) -> bool {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    !arguments.contains('\n')
        && xtask.args(arguments.split(' ')).arg("--help").output().unwrap().status.success()
}

#[test]
fn the_workflow_calls_xtask_and_nothing_else() {
    assert_eq!(others(&read(".github/workflows/ci.yml")), [""; 0]);
}

#[test]
fn other_steps_and_wrong_commands_are_found() {
    let workflow = read(".github/workflows/ci.yml");
    for (before, after) in [
        ("cargo xtask lint", "cargo clippy"),
        ("cargo xtask lint", "cargo xtask lnit"),
        ("--env kafka", "--env kafak"),
        ("actions/checkout@v4", "somebody/else@v4"),
    ] {
        let broken = workflow.replace(before, after);
        assert_ne!(broken, workflow, "{before}");
        assert!(!others(&broken).is_empty(), "{after}");
    }
}
