//! Runs bench targets, holds what they measure against its limits, and writes it into `docs/benchmarks.md`. `cargo xtask bench`
//! builds the targets, starts a Kafka for them, and runs this.
//!
//! Invariant: a limit that nothing was measured for has not been held. Nothing here names a crate.

mod callgrind;
mod check;
mod criterion;
mod limits;
mod page;
mod sections;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use self::check::{Row, Text};

/// Holds what benches measure against its limits.
#[derive(Debug, Parser)]
struct Options {
    /// A bench target that prints its checks as lines of JSON; may be given several times.
    #[arg(long)]
    limits: Vec<PathBuf>,
    /// A bench target of criterion's; may be given several times.
    #[arg(long)]
    speed: Vec<PathBuf>,
    /// For logs and criterion's results.
    #[arg(long)]
    folder: PathBuf,
    /// Counts instructions (by valgrind) for every limit, not only where time cannot tell.
    #[arg(long)]
    instructions: bool,
    /// The folder of the page to write: the sections of what was measured.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// What the figures are measured on, for the page.
    #[arg(long)]
    machine: Option<String>,
    /// Fails where a limit is missed.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(!options.limits.is_empty() || !options.speed.is_empty(), "there is nothing to measure");
    std::fs::create_dir_all(&options.folder)?;
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    texts.extend(options.machine.iter().map(|machine| Text::new("machine", format!("{machine}.\n"))));
    for binary in &options.limits {
        let of_binary = limits::measure(binary, &options, &mut texts)?;
        ensure!(!of_binary.is_empty(), "{} measured nothing", binary.display());
        rows.extend(of_binary);
    }
    if !rows.is_empty() {
        println!("{}", check::table(&rows).trim_end());
        texts.push(Text::new("limits", page::table(&rows)));
    }
    for binary in &options.speed {
        let benches = criterion::measure(binary, &options.folder.join("criterion"))?;
        texts.extend(sections::of(&benches));
    }
    if let Some(docs) = &options.docs {
        page::write(docs, &texts)?;
    }
    let is_held = rows.is_empty() || say_verdict(&rows);
    ensure!(is_held || !options.check, "limits are missed");
    Ok(())
}

/// Says which limits are missed; gives whether none is.
fn say_verdict(rows: &[Row]) -> bool {
    let missed: Vec<&str> = rows.iter().filter(|row| !row.is_held).map(|row| row.name.as_str()).collect();
    if missed.is_empty() {
        println!("all {} limits are held", rows.len());
    } else {
        println!("{} of {} limits are missed: {}", missed.len(), rows.len(), missed.join(", "));
    }
    missed.is_empty()
}

/// Says what is done, and how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{what} ...");
    let since = Instant::now();
    let result = work()?;
    eprintln!("{what} ({:.1} s)", since.elapsed().as_secs_f64());
    Ok(result)
}

/// Runs a program; gives what it prints.
fn run(program: &mut Command) -> Result<String> {
    let name = program.get_program().display().to_string();
    let output = program.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name} failed ({})", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn one_missed_limit_is_a_miss() {
        let row = |counts| Row::of_counts("n".to_owned(), "w".to_owned(), counts);
        assert!(say_verdict(&[row((1, 1))]));
        assert!(!say_verdict(&[row((1, 1)), row((1, 2))]));
    }
}
