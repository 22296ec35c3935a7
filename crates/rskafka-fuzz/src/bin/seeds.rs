//! Writes the seeds of every target below the folder given, and fails if a message has no seed that decodes.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rskafka_fuzz::messages::kinds;
use rskafka_fuzz::seeds::Seeds;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: seeds FOLDER");
        return ExitCode::FAILURE;
    };
    let seeds = Seeds::from_golden();
    if let Err(error) = write(Path::new(&folder), &seeds) {
        eprintln!("{}: {error}", Path::new(&folder).display());
        return ExitCode::FAILURE;
    }
    println!(
        "{} of {} (direction, API, version) decode among the seeds",
        seeds.decoded.len(),
        kinds().count()
    );
    let missing = seeds.missing();
    for (direction, api_key, version) in &missing {
        println!("no seed decodes as {api_key} {direction} version {version}");
    }
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A folder for each target, without what was in it before.
fn write(folder: &Path, seeds: &Seeds) -> std::io::Result<()> {
    for target in rskafka_fuzz::TARGETS {
        let folder = folder.join(target.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
    }
    seeds.all.iter().try_for_each(|seed| fs::write(folder.join(seed.target).join(&seed.name), &seed.bytes))
}
