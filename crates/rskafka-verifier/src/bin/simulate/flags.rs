//! The options of `simulate`. xtask has this file, too, and knows them before the program is built.

use std::ops::Range;

/// Runs the client against a fake cluster in virtual time, under random faults.
#[derive(Debug, clap::Parser)]
#[command(name = "simulate")]
pub(crate) struct Flags {
    /// A..B: runs these seeds on all cores.
    #[arg(long, default_value = "0..2000", value_parser = seeds)]
    pub(crate) seeds: Range<u64>,
    /// Runs one seed, and shows its plan.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Shows every frame of the one seed.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Who takes part.
    #[arg(long, default_value = "readers", value_parser = ["readers", "writers", "resenders", "truncators", "followers", "claimants"])]
    pub(crate) profile: String,
    /// Looks for fewer faults with which the seed, or the first that fails, fails too.
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Fails if a core makes fewer than 200 runs in a second.
    #[arg(long)]
    pub(crate) check: bool,
    /// `N[,N]`: only these faults of the one seed's plan.
    #[arg(long, value_delimiter = ',', requires = "seed")]
    pub(crate) only: Vec<usize>,
}

/// `A..B` with A before B.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.filter(|range| !range.is_empty()).ok_or_else(|| "it is A..B, such as 0..2000".to_owned())
}
