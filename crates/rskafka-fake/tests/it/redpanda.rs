//! The tests that do not apply to Redpanda (24.3), and why.
//!
//! The table holds for the fake that imitates Redpanda and for real brokers. It names tests of the fake (raw requests, in
//! this folder) and of the client (`crates/rskafka/tests`: the cases of `common`, the modules of `broker`). It was made from
//! Redpanda's source and documentation.

/// A test by its path, or all of a module, and why not.
const NOT_APPLICABLE: &[(&str, &str)] = &[
    // Of the fake.
    ("admin::brokers_that_do_not_run_are_described_as_fenced_on_request", "there is no DescribeCluster"),
    (
        "api_versions::a_client_that_means_another_broker_or_cluster_is_sent_back_to_its_bootstrap_addresses",
        MEANS_NOBODY,
    ),
    ("compare::the_fake_answers_what_kafka_answers", "the fake is compared with Apache Kafka only"),
    (
        "replication::a_reader_is_told_where_its_log_and_the_leaders_part",
        "Fetch ends at version 11, in which a reader cannot say which epoch it has read",
    ),
    ("sasl::while_a_client_logs_in_which_broker_it_means_is_not_looked_at", MEANS_NOBODY),
    ("topics::a_topic_is_deleted_by_its_id", "topics have no ids"),
    // Cases of the client.
    ("admin::a_topic_for_a_log_lacks_nothing", NO_UNCLEAN),
    ("admin::a_topic_that_loses_records_is_told_what_to_change", NO_UNCLEAN),
    (
        "refusals::a_record_that_is_too_old_is_not_written",
        "topics have no bounds of timestamps; what is out of the broker's raises an alert only",
    ),
    (
        "refusals::a_record_without_a_key_is_not_written_to_a_compacted_topic",
        "a compacted topic takes records without a key",
    ),
    (
        "topics::a_topic_for_a_log_keeps_everything_in_two_copies",
        "min.insync.replicas and unclean.leader.election.enable are ignored: Raft needs no such configs",
    ),
    ("topics::an_append_tells_the_time_that_the_broker_gave_it", "the answer to Produce leaves the time out"),
    ("topics::an_unknown_config_is_refused", "configs that it does not know are ignored"),
    // Broker tests of the client that need the listeners, files and processes of `cargo xtask env up kafka`.
    ("frozen::*", FROM_XTASK),
    ("java::*", FROM_XTASK),
    ("java_transactions::*", FROM_XTASK),
    ("librdkafka::*", FROM_XTASK),
    ("listeners::*", FROM_XTASK),
    ("old_formats::*", FROM_XTASK),
    ("refusals_at_the_door::*", FROM_XTASK),
    ("rules::*", FROM_XTASK),
    ("sessions::*", FROM_XTASK),
    ("unclean::*", FROM_XTASK),
];

const NO_UNCLEAN: &str =
    "unclean.leader.election.enable is not told, which is a finding: Raft needs no such config";
const MEANS_NOBODY: &str =
    "ApiVersions ends at version 3, in which a client cannot say which broker it means";
const FROM_XTASK: &str = "it needs the listeners and processes of an environment that only Apache Kafka has";

/// Why a test does not apply; `None` if it does.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    let is_it = |row: &str| match row.strip_suffix('*') {
        Some(module) => test.starts_with(module),
        None => row == test,
    };
    NOT_APPLICABLE.iter().find(|(row, _)| is_it(row)).map(|(_, why)| *why)
}

/// Every row names a test, or a module, that the source has.
#[test]
fn the_table_of_redpanda_names_tests_that_exist() {
    let crates = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folders = ["rskafka-fake/tests/it", "rskafka/tests/common", "rskafka/tests/broker"];
    for (row, _) in NOT_APPLICABLE {
        let (module, test) = row.split_once("::").unwrap();
        let sources = folders.iter().filter_map(|folder| {
            std::fs::read_to_string(crates.join(folder).join(module).with_extension("rs")).ok()
        });
        let function = if test == "*" { "fn ".to_owned() } else { format!("fn {test}(") };
        assert!(sources.into_iter().any(|source| source.contains(&function)), "{row}");
    }
}
