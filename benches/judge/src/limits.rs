//! Runs the targets called `limits`, which print a line of JSON for each check.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::check::{Allocations, Check, Row, Samples, Text};
use crate::{Options, callgrind, run, step};

/// Runs one target; gives a row for each of its checks, and adds what it has for the page.
pub(crate) fn measure(binary: &Path, options: &Options, texts: &mut Vec<Text>) -> Result<Vec<Row>> {
    let what = format!("measuring with {}", binary.display());
    let output = step(&what, || run(&mut Command::new(binary)))?;
    let mut rows = Vec::new();
    for line in output.lines() {
        match Check::parse(line)? {
            Check::Samples(samples) => rows.push(row_of(samples, binary, options)?),
            Check::Allocations(Allocations { name, what, counts }) => {
                rows.push(Row::of_counts(name, what, counts));
            }
            Check::Text(text) => texts.push(text),
        }
    }
    Ok(rows)
}

fn row_of(samples: Samples, binary: &Path, options: &Options) -> Result<Row> {
    let is_wanted = options.instructions || samples.figure().is_in_doubt(samples.limit());
    if !is_wanted || !samples.instructions_tell {
        return Ok(Row::of_samples(&samples, None));
    }
    if !callgrind::is_there() {
        println!("{}: time cannot tell, and there is no valgrind to count instructions", samples.name);
        return Ok(Row::of_samples(&samples, None));
    }
    let what = format!("counting instructions of {}", samples.name);
    let counted = step(&what, || callgrind::count(binary, &samples.name, &options.folder))?;
    Ok(Row::of_samples(&samples, Some(counted)))
}
