//! Writes what was measured into `docs/benchmarks.md`: tables, and drawings that Markdown viewers make of Mermaid's text.
//!
//! Invariant: only what stands between the marks of a section is replaced.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use super::check::{HEADS, Row, Text};
use super::criterion::Bench;
use super::machine::Machine;
use crate::workspace;

/// Writes the page.
pub(super) fn write(machine: &Machine, rows: &[Row], benches: &[Bench], texts: &[Text]) -> Result<()> {
    let docs = workspace::root().join("docs");
    let path = docs.join("benchmarks.md");
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (section, content) in [
        ("machine", format!("{machine}.\n")),
        ("limits", table(&HEADS.map(str::to_owned), rows.iter().map(|row| row.cells.to_vec()))),
        ("records", by(&group(benches, "records"), "", |bench| &bench.value, |bench| time(bench.ns))),
        ("drawing", drawing(benches)),
        (
            "codecs",
            by(
                &[group(benches, "compress"), group(benches, "decompress")].concat(),
                "codec",
                |bench| &bench.group,
                speed,
            ),
        ),
        (
            "messages",
            by(&group(benches, "messages"), "message, direction", |_| "time", |bench| time(bench.ns)),
        ),
    ] {
        text = replace(&text, section, &content)?;
    }
    for Text { section, text: content } in texts {
        if section.ends_with(".svg") {
            fs::write(docs.join(section), content)?;
        } else {
            text = replace(&text, section, content)?;
        }
    }
    fs::write(&path, text)?;
    say!("wrote {}", path.display());
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

/// A line for each function, a column for each of what `column` gives.
fn by<'a>(
    benches: &[&'a Bench],
    head: &str,
    column: fn(&'a Bench) -> &'a str,
    cell: fn(&Bench) -> String,
) -> String {
    let columns = names(benches, column);
    let heads = [head].into_iter().chain(columns.iter().copied()).map(str::to_owned);
    let rows = names(benches, |bench| &bench.function).into_iter().map(|function| {
        let found =
            |name: &&str| benches.iter().find(|bench| bench.function == function && column(bench) == *name);
        let cells = columns.iter().map(|name| found(name).map_or(String::new(), |bench| cell(bench)));
        [function.to_owned()].into_iter().chain(cells).collect()
    });
    table(&heads.collect::<Vec<_>>(), rows)
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
fn drawing(benches: &[Bench]) -> String {
    // What does not go by the bytes would be too short to be seen.
    let records = group(benches, "records").into_iter();
    let records: Vec<&Bench> = records.filter(|bench| !bench.function.starts_with("encode")).collect();
    let mut drawing = String::new();
    for value in names(&records, |bench| &bench.value) {
        let of_value = records.iter().filter(|bench| bench.value == value);
        let bars = of_value.map(|bench| (&*bench.function, bench.ns / 1e3));
        drawing += &bar_chart(&format!("1,000 records of {value}: µs, less is better"), bars);
    }
    for name in ["compress", "decompress"] {
        let bars = group(benches, name).into_iter().map(|bench| (&*bench.function, megabytes(bench)));
        drawing +=
            &bar_chart(&format!("{name}: MB/s by the bytes that are not compressed, more is better"), bars);
    }
    drawing
}

fn bar_chart<'a>(title: &str, bars: impl Iterator<Item = (&'a str, f64)>) -> String {
    let (names, values): (Vec<_>, Vec<_>) =
        bars.map(|(name, value)| (format!("{name:?}"), format!("{value:.1}"))).unzip();
    let (names, values) = (names.join(", "), values.join(", "));
    format!(
        "```mermaid\nxychart-beta horizontal\n  title {title:?}\n  x-axis [{names}]\n  bar [{values}]\n```\n"
    )
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
        assert_eq!(
            by(&benches.iter().collect::<Vec<_>>(), "", |bench| &bench.value, |bench| time(bench.ns)),
            expected
        );
    }

    #[test]
    fn a_drawing_names_its_bars_in_their_order() {
        let chart = bar_chart("time", [("build", 1.0), ("read, owned", 2.5)].into_iter());
        assert!(chart.contains("  x-axis [\"build\", \"read, owned\"]\n  bar [1.0, 2.5]\n"), "{chart}");
    }
}
