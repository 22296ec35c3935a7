//! `cargo xtask lint`: every check that is not a test; the cheap ones first, and all of them even if one fails.

mod directions;
mod lines;

use std::process::Command;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::workspace::{self, Package};
use crate::{children, planted, schema, tools};

/// The command.
pub(crate) fn command() -> Result<()> {
    let (packages, root) = (workspace::packages()?, workspace::root());
    let checks: [(&str, &dyn Fn() -> Result<()>); 13] = [
        ("format", &|| succeed(&mut cargo("fmt --all --check"))),
        ("directions of crates and rooms", &|| directions::check(&root, &packages)),
        ("planted bugs", &|| planted::check(&root)),
        ("lines of code", &|| lines::check(&packages)),
        ("licences, bans, sources", &check_dependencies),
        ("compose files", &|| succeed(&mut cargo("test --bin xtask env::compose"))),
        ("clippy", &|| succeed(&mut cargo("clippy --workspace --all-targets -- -D warnings"))),
        ("fuzz targets", &check_fuzz),
        ("docs", &|| succeed(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"))),
        ("features", &|| check_features(&packages)),
        ("public API", &|| succeed(&mut cargo("test --test pages public_api -- --ignored --nocapture"))),
        ("packages", &|| check_packages(&packages)),
        ("schema", &schema::command),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        say!("== {name}");
        let since = Instant::now();
        if let Err(error) = check() {
            note!("{name}: {error:#}");
            failed.push(name);
        }
        say!("   {:.1} s", since.elapsed().as_secs_f64());
    }
    ensure!(failed.is_empty(), "lint: {} failed", failed.join(", "));
    say!("lint: all is well");
    Ok(())
}

fn cargo(args: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(args.split(' '));
    cargo
}

fn succeed(command: &mut Command) -> Result<()> {
    let otherwise = format!("{} failed", command.get_program().display());
    children::succeed(command, &otherwise)
}

/// Licences, banned crates and sources, by cargo-deny and `deny.toml`. Advisories are left out: their database needs a network,
/// and a run must not change without a change of the project.
fn check_dependencies() -> Result<()> {
    let mut deny = tools::cargo("deny")?;
    // cargo-deny checks the dependencies for every platform; a build here may not have downloaded all of them.
    succeed(&mut cargo("fetch --quiet --locked")).context("cannot fetch the dependencies")?;
    deny.args(["--offline", "--log-level", "warn", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    succeed(&mut deny)
}

/// `fuzz/` is a workspace of its own, which the other checks do not see. So are those that are not compiled here because that
/// takes librdkafka.
fn check_fuzz() -> Result<()> {
    for folder in ["fuzz", "benches/peers", "crates/rskafka/tests/broker/librdkafka"] {
        succeed(cargo("fmt --check --manifest-path").arg(format!("{folder}/Cargo.toml")))?;
    }
    let mut clippy = cargo("clippy --locked --all-targets --manifest-path fuzz/Cargo.toml --target-dir");
    clippy.arg(workspace::target_dir()).args(["--", "-D", "warnings"]);
    // Where there is a library, libFuzzer is not built; nothing is linked here, so that any file will do.
    succeed(clippy.env("CUSTOM_LIBFUZZER_PATH", "/dev/null"))
}

/// Every published crate builds from its package alone, and from the packages of the others.
///
/// In a folder that there was never before: cargo takes packages of the same folder, name and version for the same, and what
/// it unpacked of them on an earlier day would be what the others are built on.
fn check_packages(packages: &[Package]) -> Result<()> {
    let unpublished = packages.iter().filter(|package| !package.is_published());
    let others = unpublished.flat_map(|package| ["--exclude", package.name.as_str()]);
    let folder = workspace::target_dir().join(format!("package-{}", UNIX_EPOCH.elapsed()?.as_millis()));
    let built = succeed(cargo("package --workspace --allow-dirty -q --target-dir").arg(&folder).args(others));
    std::fs::remove_dir_all(folder)?;
    built
}

/// Every published crate compiles without a warning with no feature, each alone, and all.
fn check_features(packages: &[Package]) -> Result<()> {
    for package in packages.iter().filter(|package| package.is_published()) {
        let alone =
            package.features.keys().map(|feature| vec!["--no-default-features", "--features", feature]);
        for set in [vec!["--no-default-features"], vec!["--all-features"]].into_iter().chain(alone) {
            say!("   {} {}", package.name, set.join(" "));
            succeed(cargo("clippy --package").arg(&package.name).args(set).args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}
