//! Writes what was measured into `docs/benchmarks.md`, and draws `docs/benchmarks.svg`.
//!
//! Invariant: only what stands between the marks of a section is replaced.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::check::{HEADS, Row};
use super::criterion::Bench;
use super::machine::Machine;
use super::svg::{Bar, Panel, draw};
use crate::workspace;

/// Writes both files.
pub(super) fn write(machine: &Machine, rows: &[Row], benches: &[Bench]) -> Result<()> {
    let docs = workspace::root().join("docs");
    let path = docs.join("benchmarks.md");
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (section, content) in [
        ("machine", format!("{machine}.\n")),
        ("limits", table(&HEADS.map(str::to_owned), rows.iter().map(|row| row.cells().to_vec()))),
        ("records", by_value(&group(benches, "records"))),
        ("codecs", codecs(benches)),
        ("messages", messages(&group(benches, "messages"))),
    ] {
        text = replace(&text, section, &content)?;
    }
    fs::write(&path, text)?;
    let drawing = docs.join("benchmarks.svg");
    fs::write(&drawing, draw(&panels(benches)))?;
    say!("wrote {} and {}", path.display(), drawing.display());
    Ok(())
}

/// Puts `content` between the marks of `section`.
fn replace(text: &str, section: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- measured: {section} -->\n"), format!("<!-- end: {section} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no mark {begin:?}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no mark {end:?}"))?;
    Ok(format!("{before}{begin}{content}{end}{after}"))
}

/// A Markdown table, of which all columns but the first stand to the right.
fn table(heads: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table =
        format!("| {} |\n|---{}|\n", heads.join(" | "), "|--:".repeat(heads.len().saturating_sub(1)));
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

fn group<'a>(benches: &'a [Bench], name: &str) -> Vec<&'a Bench> {
    benches.iter().filter(|bench| bench.group == name).collect()
}

/// Names in the order of their first appearance.
fn names<'a>(benches: &[&'a Bench], name: fn(&'a Bench) -> &'a str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for bench in benches {
        if !names.contains(&name(bench)) {
            names.push(name(bench));
        }
    }
    names
}

/// A line for each function, a column for each parameter.
fn by_value(benches: &[&Bench]) -> String {
    let values = names(benches, |bench| &bench.value);
    let heads = [String::new()].into_iter().chain(values.iter().map(|value| (*value).to_owned()));
    let rows = names(benches, |bench| &bench.function).into_iter().map(|function| {
        let cell = |value: &&str| {
            let bench = benches.iter().find(|bench| bench.function == function && bench.value == *value);
            bench.map_or(String::new(), |bench| time(bench.ns))
        };
        [function.to_owned()].into_iter().chain(values.iter().map(cell)).collect()
    });
    table(&heads.collect::<Vec<_>>(), rows)
}

const CODEC_GROUPS: [&str; 2] = ["compress", "decompress"];

fn codecs(benches: &[Bench]) -> String {
    let heads = ["codec", "compress", "decompress"].map(str::to_owned);
    let rows = names(&group(benches, "compress"), |bench| &bench.function).into_iter().map(|codec| {
        let speeds = CODEC_GROUPS.map(|name| {
            let bench = benches.iter().find(|bench| bench.group == name && bench.function == codec);
            bench.map_or(String::new(), speed)
        });
        [codec.to_owned()].into_iter().chain(speeds).collect()
    });
    table(&heads, rows)
}

fn messages(benches: &[&Bench]) -> String {
    let heads = ["message, direction".to_owned(), "time".to_owned()];
    table(&heads, benches.iter().map(|bench| vec![bench.function.clone(), time(bench.ns)]))
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.1} µs", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

/// Of the bytes that one iteration works on.
fn speed(bench: &Bench) -> String {
    format!("{:.0} MB/s", megabytes(bench))
}

fn megabytes(bench: &Bench) -> f64 {
    bench.bytes.map_or(0.0, |bytes| bytes / bench.ns * 1e3)
}

/// What people compare: the way of a record by size, and the codecs.
fn panels(benches: &[Bench]) -> Vec<Panel> {
    let records = group(benches, "records");
    // It does not go by the bytes, and would be too short to be seen.
    let is_shown = |bench: &&&Bench| !bench.function.starts_with("encode");
    let of_records = names(&records, |bench| &bench.value).into_iter().map(|value| {
        let of_value = records.iter().filter(|bench| bench.value == value).filter(is_shown);
        Panel {
            title: format!("1,000 records of {value}: time, less is better"),
            bars: of_value.map(|bench| bar(bench, bench.ns, time(bench.ns))).collect(),
        }
    });
    let of_codecs = CODEC_GROUPS.map(|name| Panel {
        title: format!("{name}: speed by the bytes that are not compressed, more is better"),
        bars: group(benches, name).iter().map(|bench| bar(bench, megabytes(bench), speed(bench))).collect(),
    });
    of_records.chain(of_codecs).collect()
}

fn bar(bench: &Bench, value: f64, text: String) -> Bar {
    let is_baseline = bench.function.starts_with("memcpy");
    Bar { label: bench.function.clone(), value, text, is_baseline }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end: x -->\nb\n";
        let expected = "a\n<!-- measured: x -->\nnew\n<!-- end: x -->\nb\n";
        assert_eq!(replace(text, "x", "new\n").unwrap(), expected);
        assert!(replace(text, "y", "new\n").is_err());
    }

    #[test]
    fn functions_are_lines_and_parameters_are_columns() {
        let bench = |function: &str, value: &str, ns| Bench {
            group: "records".to_owned(),
            function: function.to_owned(),
            value: value.to_owned(),
            ns,
            bytes: Some(1000.0),
        };
        let benches =
            [bench("build", "1 KiB", 900.0), bench("build", "10 KiB", 9000.0), bench("read", "1 KiB", 2e6)];
        let expected =
            "|  | 1 KiB | 10 KiB |\n|---|--:|--:|\n| build | 900 ns | 9.0 µs |\n| read | 2.00 ms |  |\n";
        assert_eq!(by_value(&benches.iter().collect::<Vec<_>>()), expected);
    }
}
