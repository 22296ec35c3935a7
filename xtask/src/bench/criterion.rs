//! Runs a target of criterion's, and reads what it leaves: `GROUP/FUNCTION[/VALUE]/new/{benchmark,estimates}.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binaries::Binary;
use crate::progress::Step;
use crate::{children, workspace};

/// One of criterion's benches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bench {
    /// Its group's name.
    pub(super) group: String,
    /// What is measured.
    pub(super) function: String,
    /// The parameter; empty if it has none.
    pub(super) value: String,
    /// The median of one iteration.
    pub(super) ns: f64,
    /// What one iteration works on.
    pub(super) bytes: Option<f64>,
}

/// Runs all benches of a target, with their results below `home`.
pub(super) fn measure(target: &Binary, home: &Path) -> Result<Vec<Bench>> {
    if home.exists() {
        // Results of benches that are gone would be read too.
        fs::remove_dir_all(home)?;
    }
    let step = Step::start(format!("criterion's benches of {}", target.program.display()));
    let mut benches = target.command();
    benches.args(["--bench", "--noplot"]).env("CRITERION_HOME", home);
    // All that is printed is in the results too.
    children::read(&mut benches, "criterion's benches failed")?;
    step.done();
    read(home)
}

/// The benches whose results are below `home`, in the order in which they ran.
fn read(home: &Path) -> Result<Vec<Bench>> {
    let mut files = workspace::files_below(home)?;
    files.retain(|file| file.ends_with("new/estimates.json"));
    ensure!(!files.is_empty(), "criterion left nothing in {}", home.display());
    files.sort_by_cached_key(|file| file.metadata().and_then(|written| written.modified()).ok());
    files.iter().filter_map(|file| file.parent()).map(bench).collect()
}

fn bench(folder: &Path) -> Result<Bench> {
    let json = |name| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(folder.join(name))?)?) };
    let (bench, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let text = |key: &str| bench[key].as_str().unwrap_or_default().to_owned();
    Ok(Bench {
        group: text("group_id"),
        function: text("function_id"),
        value: text("value_str"),
        ns: estimates["median"]["point_estimate"]
            .as_f64()
            .with_context(|| format!("no median in {}", folder.display()))?,
        bytes: bench["throughput"]["Bytes"].as_f64(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A folder of this test alone.
    fn home(name: &str) -> PathBuf {
        let home = std::env::temp_dir().join(format!("xtask-criterion-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        home
    }

    #[test]
    fn results_are_read_in_the_order_in_which_they_were_written() {
        let home = home("order");
        let write = |bench: &str, seconds, benchmark: &str, median| {
            let folder = home.join(bench).join("new");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("benchmark.json"), benchmark).unwrap();
            let estimates = folder.join("estimates.json");
            fs::write(&estimates, format!(r#"{{"median":{{"point_estimate":{median}}}}}"#)).unwrap();
            let file = fs::File::options().append(true).open(estimates).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        let codec =
            r#"{"group_id":"compress","function_id":"lz4","value_str":null,"throughput":{"Bytes":7}}"#;
        write("compress/lz4", 2, codec, "2.5");
        let records = r#"{"group_id":"records","function_id":"build","value_str":"1 KiB","throughput":null}"#;
        write("records/build/1 KiB", 1, records, "40");
        let read = read(&home).unwrap();
        fs::remove_dir_all(&home).unwrap();
        let bench = |group: &str, function: &str, value: &str, ns, bytes| {
            let [group, function, value] = [group, function, value].map(str::to_owned);
            Bench { group, function, value, ns, bytes }
        };
        let expected =
            [bench("records", "build", "1 KiB", 40.0, None), bench("compress", "lz4", "", 2.5, Some(7.0))];
        assert_eq!(read, expected);
    }

    #[test]
    fn no_results_are_an_error() {
        let home = home("none");
        let error = read(&home).unwrap_err().to_string();
        fs::remove_dir_all(&home).unwrap();
        assert!(error.starts_with("criterion left nothing in "), "{error}");
    }
}
