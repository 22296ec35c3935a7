//! The figures that other pages take from `docs/benchmarks.md` are those of its last run.

use crate::read;

const ONE: &str = "one record at a time";
const CPU: &str = "CPU per record, and by the raw client's";

/// What is in a table's column for a row; rows are named by their first cells. In ns or for each second.
fn cell(page: &str, table: &str, row: &str, column: &str) -> f64 {
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = page.lines().skip_while(|line| !line.starts_with(&format!("| {table} |")));
    let head = lines.next().unwrap_or_else(|| panic!("there is no table of {table:?}"));
    let mut rows = lines.take_while(|line| line.starts_with('|'));
    let row =
        rows.find(|line| line.starts_with(&format!("| {row} |"))).unwrap_or_else(|| panic!("no {row:?}"));
    let at = cells(head).iter().position(|cell| cell == column).unwrap_or_else(|| panic!("no {column:?}"));
    let cell = cells(row)[at].split(',').next().unwrap().to_owned();
    let (number, unit) = cell.split_once(' ').unwrap_or((&cell, ""));
    let factor = [("", 1.0), ("ns", 1.0), ("k", 1e3), ("µs", 1e3), ("M", 1e6), ("ms", 1e6)];
    let (_, factor) =
        factor.iter().find(|(name, _)| *name == unit).unwrap_or_else(|| panic!("unit of {cell:?}"));
    number.parse::<f64>().unwrap() * factor
}

/// Fails unless the page's number between `before` and `after` is `figure`, to the digits written.
fn check(page: &str, before: &str, after: &str, figure: f64) -> Result<(), String> {
    let text = read(page).split_whitespace().collect::<Vec<_>>().join(" ");
    let number = |written: &str| written.replace(',', "").parse::<f64>().ok();
    let behind = text.match_indices(before).map(|(at, _)| &text[at + before.len()..]);
    let between = behind.filter_map(|behind| Some(behind.split_once(after)?.0));
    let Some((written, number)) = between.filter_map(|written| Some((written, number(written)?))).next()
    else {
        return Err(format!("{page}: there is no figure between {before:?} and {after:?}"));
    };
    let decimals = written.split_once('.').map_or(0, |(_, decimals)| decimals.len()) as i32;
    // A little more than half of the last digit, as the benchmarks' are rounded too.
    if (number - figure).abs() <= 0.55 * 10_f64.powi(-decimals) {
        return Ok(());
    }
    Err(format!("{page}: \"{before}{written}{after}\" is {figure:.3} by the benchmarks"))
}

#[test]
fn figures_on_other_pages_are_those_of_the_benchmarks() {
    let page = read("docs/benchmarks.md");
    let is_limit = |line: &&str| line.contains(" | MISSED (") || line.contains(" | held (");
    let limits: Vec<_> = page.lines().filter(is_limit).collect();
    let count = |words: &str| limits.iter().filter(|line| line.contains(words)).count() as f64;

    let one = |side, column| cell(&page, ONE, &format!("kafka-one-100B | {side}"), column);
    let (alone, raw) = (one("records, 5", "CPU per record"), one("raw", "CPU per record"));
    let longer = one("records, 5", "p50") - one("raw", "p50");
    let of_64 = cell(&page, ONE, "kafka-together-64 | BatchProducer", "CPU per record");
    let large = cell(&page, CPU, "kafka-produce-1KiB", "batch, 5");
    let of_large = cell(&page, "records/s", "kafka-produce-100B", "records, 1");
    let recovery = |row, column| cell(&page, "reader", row, column);
    let (near, far) = ("MiB/s", "2 ms away: MiB/s");
    let (replay, claim) = ("replay, 4 connections", "claim of an exclusive log");

    let (readme, guide, scale) = ("README.md", "docs/write-ahead-log.md", "docs/scale.md");
    let checked = [
        check(readme, "benchmarks.md#limits), ", " of ", count("| MISSED (")),
        check(readme, " of ", " in the last run", limits.len() as f64),
        check(readme, "in the last run, ", " of them within", count("| MISSED (time, in doubt)")),
        check(readme, "on Kafka costs ", " times a raw client's CPU", alone / raw),
        check(readme, "CPU and takes ", " ms longer", longer / 1e6),
        check(readme, "a record of a batch producer costs ", " µs of CPU", of_64 / 1e3),
        check(guide, "one at a time, came to ", " a second", one("records, 5", "records/s")),
        check(guide, "in batches of 1 MiB to ", " million", of_large / 1e6),
        check(guide, "on two cores: ", " MiB/s near the broker", recovery(replay, near)),
        check(guide, "near the broker and ", " MiB/s 2 ms away", recovery(replay, far)),
        check(guide, "four connections, and ", " and ", recovery(claim, near)),
        check(guide, " and ", " MiB/s by the claim", recovery(claim, far)),
        check(scale, "in batches of 1 MiB | ", " % of a core", large * 1e5 / 1e9 * 100.0),
        check(scale, "the brokers' not counted | ", " % of a core", alone * 1e3 / 1e9 * 100.0),
        check(scale, " % of a core | ", " cores", alone * 1e5 / 1e9),
        check(scale, " cores | ", " cores", alone * 1e7 / 1e9),
        check(scale, "The last two rows are ", " ns", large),
        check(scale, "in a large batch and ", " µs for a record", alone / 1e3),
        check(scale, "under way: ", " µs of CPU", of_64 / 1e3),
    ];
    let wrong: Vec<_> = checked.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
