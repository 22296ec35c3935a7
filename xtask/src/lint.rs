//! `cargo xtask lint`: every check that is not a test; the cheap ones first, and all of them even if one fails.

mod deny;
mod directions;
mod lines;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, Package};
use crate::{children, planted, schema};

/// The command.
pub(crate) fn command() -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(workspace::root());
    let packages = workspace::packages()?;
    let mut checks = Checks::default();
    checks.run("format", || succeed(cmd!(sh, "cargo fmt --all --check").into()));
    checks.run("directions of crates and rooms", || directions::check(&workspace::root(), &packages));
    checks.run("planted bugs", || planted::check(&workspace::root()));
    checks.run("lines of code", || lines::check(&workspace::root(), &packages));
    checks.run("licences, bans, sources", || deny::check(&sh));
    checks.run("compose files", || succeed(cmd!(sh, "cargo test --bin xtask env::compose").into()));
    checks
        .run("clippy", || succeed(cmd!(sh, "cargo clippy --workspace --all-targets -- -D warnings").into()));
    checks.run("fuzz targets", || check_fuzz(&sh));
    checks.run("docs", || {
        succeed(cmd!(sh, "cargo doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings").into())
    });
    checks.run("features", || check_features(&packages));
    checks.run("schema", schema::command);

    ensure!(checks.failed.is_empty(), "lint: {} failed", checks.failed.join(", "));
    say!("lint: all is well");
    Ok(())
}

#[derive(Default)]
struct Checks {
    failed: Vec<&'static str>,
}

impl Checks {
    fn run(&mut self, name: &'static str, check: impl FnOnce() -> Result<()>) {
        say!("== {name}");
        let since = Instant::now();
        match check() {
            Ok(()) => say!("   {:.1} s", since.elapsed().as_secs_f64()),
            Err(error) => {
                note!("{name}: {error:#}");
                self.failed.push(name);
            }
        }
    }
}

fn succeed(mut command: Command) -> Result<()> {
    let otherwise = format!("{} failed", command.get_program().display());
    children::succeed(&mut command, &otherwise)
}

/// `fuzz/` is a workspace of its own, which the other checks do not see. So is `benches/rdkafka`, which is not compiled here
/// because that takes librdkafka.
fn check_fuzz(sh: &Shell) -> Result<()> {
    let _folder = sh.push_dir("fuzz");
    succeed(cmd!(sh, "cargo fmt --check").into())?;
    succeed(cmd!(sh, "cargo fmt --check --manifest-path ../benches/rdkafka/Cargo.toml").into())?;
    // Where there is a library, libFuzzer is not built; nothing is linked here, so that any file will do.
    let target = workspace::target_dir();
    let clippy = cmd!(sh, "cargo clippy --locked --all-targets --target-dir {target} -- -D warnings");
    succeed(clippy.env("CUSTOM_LIBFUZZER_PATH", "/dev/null").into())
}

/// Every published crate compiles without a warning with no feature, each alone, and all.
fn check_features(packages: &[Package]) -> Result<()> {
    for package in packages.iter().filter(|package| package.is_published()) {
        let mut sets = vec![vec!["--no-default-features"]];
        for feature in package.features.keys().filter(|feature| *feature != "default") {
            sets.push(vec!["--no-default-features", "--features", feature]);
        }
        // Without features, the other checks have compiled it already.
        if sets.len() == 1 {
            continue;
        }
        sets.push(vec!["--all-features"]);
        for set in sets {
            say!("   {} {}", package.name, set.join(" "));
            let mut clippy = workspace::cargo();
            clippy.args(["clippy", "--package", &package.name]).args(set).args(["--", "-D", "warnings"]);
            succeed(clippy)?;
        }
    }
    Ok(())
}
