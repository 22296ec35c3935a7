//! `cargo xtask sim`: the verifier's simulation, built for release.

use anyhow::{Context, Result, ensure};

use crate::children;
use crate::libtest::Summary;
use crate::workspace::Programs;

/// What every `cargo xtask test` runs, each profile with its seeds.
const TESTED: [(&str, u64); 4] =
    [("readers", 2_000), ("writers", 500), ("resenders", 500), ("truncators", 500)];

const PROGRAM: &str = "simulate";

/// As the program says it itself; here too, because the program has to be built first.
const OPTIONS: &str = "\
Options of simulate:
      --seeds <A..B>       runs these seeds on all cores [default: 0..2000]
      --seed <N>           Runs one seed, and shows its plan
      --trace              Shows every frame of the one seed
      --profile <NAME>     readers (if not given), writers, resenders or truncators
      --shrink             Looks for fewer faults with which the seed, or the first that fails, fails too
      --check              Fails if a core makes fewer than 200 runs in a second
      --only <N[,N]>       only these faults of the one seed's plan";

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = OPTIONS)]
pub(crate) struct Flags {
    /// Handed on to the program `simulate`, such as `--seed 7 --trace`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// The command.
pub(crate) fn command(Flags { args }: &Flags) -> Result<()> {
    run(&Programs::RELEASE, args).map(drop)
}

/// The seeds that every test run tries; adds how many there were.
pub(crate) fn short(mut summary: Summary) -> Result<Summary> {
    for (profile, seeds) in TESTED {
        let seeds = format!("0..{seeds}");
        let args = ["--profile", profile, "--seeds", &seeds, "--shrink"].map(str::to_owned);
        let output = run(&Programs::CHECKED, &args)?;
        summary.passed += count(&output).context("the simulation ended without a line `N runs: ...`")?;
    }
    Ok(summary)
}

fn run(programs: &Programs, args: &[String]) -> Result<String> {
    let (status, output) = children::run_shown(programs.built(PROGRAM)?.args(args))?;
    ensure!(status.success(), "the simulation failed ({status})");
    Ok(output)
}

fn count(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once(" runs: ")?.0.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_the_options_that_the_program_has() {
        let source = include_str!("../../crates/rskafka-verifier/src/bin/simulate.rs");
        let (_, flags) = source.split_once("struct Flags {\n").unwrap();
        let (flags, _) = flags.split_once("\n}\n").unwrap();
        let lines = || flags.lines().map(str::trim);
        let says =
            lines().filter_map(|line| line.strip_prefix("/// ")).map(|says| says.trim_end_matches('.'));
        // `A..B: runs these seeds`: what stands for the value is in brackets here.
        let says: Vec<&str> = says.map(|says| says.split_once(": ").map_or(says, |(_, says)| says)).collect();
        let names: Vec<&str> = lines()
            .filter(|line| !line.starts_with(['/', '#']))
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        let listed: Vec<&str> = OPTIONS.lines().skip(1).collect();
        assert_eq!((says.len(), names.len()), (listed.len(), listed.len()));
        for ((name, says), listed) in names.iter().zip(says).zip(listed) {
            assert!(
                listed.trim().starts_with(&format!("--{name} ")) && listed.contains(says),
                "{name}: {listed}"
            );
        }
    }

    #[test]
    fn the_number_of_runs_is_read_from_the_output() {
        assert_eq!(
            count("profile readers\n2000 runs: 600000 appends\n0 of 2000 seeds failed\n"),
            Some(2_000)
        );
        assert_eq!(count("error: no\n"), None);
    }
}
