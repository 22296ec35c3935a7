//! What the recorder of the `metrics` crate gets, and that the documentation and the dashboard have the same names.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::TryStreamExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use rskafka::wal::Position;

use super::common::exclusive::{claim, read, wal};
use super::common::record;
use super::kit::{TOPIC, start};

fn docs(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_the_batches_of_an_exclusive_log_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let (_cluster, client, log) = start(1).await;
    let wal = wal(&client, TOPIC).await;
    let value = |name: &str| {
        let line = format!("rskafka_wal_{name}{{topic=\"{TOPIC}\",partition=\"0\"}} ");
        let text = recorder.handle().render();
        let value = text.lines().find_map(|found| found.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("{line} is missing in: {text}")).parse::<f64>().unwrap()
    };
    let (first, _) = claim(&wal, Position::START, "first").await;
    first.append([record("one")]).await.unwrap();
    first.append([record("two")]).await.unwrap();
    assert_eq!((value("term"), value("claims"), value("appended"), value("entries")), (1.0, 1.0, 2.0, 0.0));

    log.produce([record("foreign")]).await.unwrap();
    let (second, _) = claim(&wal, Position::START, "second").await;
    // The claim that was read, and the one that was made.
    assert_eq!((value("term"), value("claims")), (2.0, 3.0));
    assert_eq!((value("entries"), value("foreign"), value("dead")), (2.0, 1.0, 0.0));
    first.append([record("late")]).await.unwrap_err();
    let end = second.append([record("three")]).await.unwrap().offsets.end;
    assert_eq!(read(&wal, Position::START, end).await, ["one", "two", "three"]);
    assert_eq!((value("claims"), value("appended")), (5.0, 3.0));
    assert_eq!((value("entries"), value("foreign"), value("dead")), (5.0, 2.0, 1.0));
    assert_eq!(value("bytes_behind"), 0.0);

    let mut reader = wal.read(Position::START).max_bytes(1).read_ahead_bytes(0).build();
    reader.try_next().await.unwrap().unwrap();
    // Five of seven batches of one record each are left, of about as many bytes as those that were read.
    assert!((400.0..700.0).contains(&value("bytes_behind")), "{}", value("bytes_behind"));
    assert_eq!(value("term"), 1.0);
}

/// The metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let parts = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names = parts.filter(|part| part.starts_with("rskafka_"));
    names
        .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_page_has_each_metric_and_the_dashboard_has_no_other() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0]).unwrap().build_recorder();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let (_cluster, client, _) = start(1).await;
    let (writer, _) = claim(&wal(&client, TOPIC).await, Position::START, "writer").await;
    writer.append([record("one")]).await.unwrap();
    let text = recorder.handle().render();
    let recorded = names(&text);
    assert!(recorded.len() > 15, "{text}");

    let page = docs("observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<_> = rows.filter(|name| name.starts_with("rskafka_")).collect();
    assert_eq!(listed, recorded, "the page has a row for each metric, and for no other");

    let dashboard = docs("grafana.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<_> = expressions.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown: BTreeSet<_> = expressions.iter().flat_map(|expression| names(expression)).collect();
    assert_eq!(shown, recorded, "the dashboard shows each metric, and no other");
}
