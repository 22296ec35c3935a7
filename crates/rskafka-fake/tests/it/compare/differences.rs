//! The fields in which two answers differ.
//!
//! Not compared:
//! - What differs between any two clusters or runs: ids, addresses, the cluster's id, log append times
//!   (only whether there is one) and the texts of error messages (only whether there is one; those of
//!   CreateTopics and IncrementalAlterConfigs are compared with Kafka 4).
//! - ApiVersions: entries and features, of which a real broker has more.
//! - Fetch: the id of a session that the client asks for; the fake has no sessions.
//! - CreateTopics: the values, and where they come from, of three configs that test clusters set for brokers and
//!   not for controllers. DescribeConfigs: the synonyms of one of them, and the order of configs.
//! - CreateTopics of Kafka 2.8 with partitions assigned to nobody or to a broker that does not exist: with
//!   ZooKeeper that is created and never works, the fake refuses it.
//! - Produce without a records field, which Kafka never answers.
//! - What is stored of a producer's batch that says it is of log append time: Kafka takes that back, the
//!   fake leaves it.
//!
//! Not asked, as raw requests of this project cannot bring a real broker there:
//! - Transactions that were begun, and so aborted ones: `tests/it/transactions.rs` has what the fake does.
//! - Throttling: quotas are set by AlterClientQuotas.
//! - Idle connections, which the test clusters keep for ten minutes.
//! - What a broker remembers of producers after it was killed and started again, and truncation by an
//!   unclean election: a broker is only frozen here, which loses nothing.
//! - OFFSET_NOT_AVAILABLE and COORDINATOR_LOAD_IN_PROGRESS, which last for moments; the comparison waits
//!   until the coordinators of Kafka are there.
//! - SASL beyond what a listener without it answers: the comparison uses a plaintext listener.

use serde_json::Value;

/// The differences as lines: path, Kafka's value, the fake's value.
pub(crate) fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", expected, found, &mut lines);
    lines
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let mut names: Vec<_> = expected.keys().chain(found.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (left, right) = (expected.get(name), found.get(name));
                let path = format!("{path}.{name}");
                compare(&path, left.unwrap_or(&Value::Null), right.unwrap_or(&Value::Null), lines);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), expected, found, lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("{path}: Kafka {expected}, fake {found}")),
    }
}
