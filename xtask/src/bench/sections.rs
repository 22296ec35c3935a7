//! Sections of `docs/benchmarks.md` from criterion's results: a table for each.

use std::iter::once;

use super::check::Text;
use super::criterion::Bench;
use super::page::table;

/// All of them.
pub(super) fn of(benches: &[Bench]) -> [Text; 3] {
    let of_group = |name| group(benches, name);
    let codecs = [of_group("compress"), of_group("decompress")].concat();
    let of_bench = |bench: &Bench| time(bench.ns);
    [
        Text::new("records", by(&of_group("records"), "", |bench| &bench.value, of_bench)),
        Text::new("codecs", by(&codecs, "codec", |bench| &bench.group, speed)),
        Text::new("messages", by(&of_group("messages"), "message, direction", |_| "time", of_bench)),
    ]
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

/// A table with a line for each function and a column for each of what `column` gives.
fn by<'a>(
    benches: &[&'a Bench],
    head: &str,
    column: fn(&'a Bench) -> &'a str,
    cell: fn(&Bench) -> String,
) -> String {
    let columns = names(benches, column);
    let line = |function: &str| {
        let of_function = || benches.iter().filter(|bench| bench.function == function);
        let found = |name: &&str| of_function().find(|bench| column(bench) == *name);
        let cells = columns.iter().map(|name| found(name).map_or(String::new(), |bench| cell(bench)));
        once(function.to_owned()).chain(cells).collect()
    };
    let lines = names(benches, |bench| &bench.function).into_iter().map(line);
    table(&[&[head], &columns[..]].concat(), lines)
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
    format!("{:.0} MB/s", bench.bytes.unwrap_or_default() / bench.ns * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(group: &str, function: &str, value: &str, ns: f64) -> Bench {
        let [group, function, value] = [group, function, value].map(str::to_owned);
        Bench { group, function, value, ns, bytes: Some(1000.0) }
    }

    #[test]
    fn functions_are_lines_and_parameters_are_columns() {
        let benches = [
            bench("records", "build", "1 KiB", 900.0),
            bench("records", "build", "10 KiB", 9000.0),
            bench("records", "read", "1 KiB", 2e6),
        ];
        let expected =
            "|  | 1 KiB | 10 KiB |\n|---|--:|--:|\n| build | 900 ns | 9.0 µs |\n| read | 2.00 ms |  |\n";
        assert_eq!(
            by(&benches.iter().collect::<Vec<_>>(), "", |bench| &bench.value, |bench| time(bench.ns)),
            expected
        );
    }

    #[test]
    fn each_group_is_in_its_section() {
        let benches = [
            bench("records", "build", "1 KiB", 900.0),
            bench("records", "encode into a request", "1 KiB", 80.0),
            bench("compress", "lz4", "", 10.0),
            bench("decompress", "lz4", "", 5.0),
            bench("messages", "Produce request, encode", "", 120.0),
        ];
        let [records, codecs, messages] = of(&benches);
        let table = "|  | 1 KiB |\n|---|--:|\n| build | 900 ns |\n| encode into a request | 80 ns |\n";
        assert_eq!(records, Text::new("records", table.to_owned()));
        let table = "| codec | compress | decompress |\n|---|--:|--:|\n| lz4 | 100000 MB/s | 200000 MB/s |\n";
        assert_eq!(codecs, Text::new("codecs", table.to_owned()));
        let table = "| message, direction | time |\n|---|--:|\n| Produce request, encode | 120 ns |\n";
        assert_eq!(messages, Text::new("messages", table.to_owned()));
    }
}
