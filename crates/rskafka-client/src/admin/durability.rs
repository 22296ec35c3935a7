//! Compares a topic with what a write-ahead log needs of it.
//!
//! Invariant: what no broker has told is a finding too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{MOST_FOR_ONE, Node};

use super::configs::{self, Configs};
use super::topics;
use crate::core::Core;
use crate::error::Result;

/// What a topic lacks to be a write-ahead log.
///
/// `Display` is one line to act on: the setting, its value and the brokers that have it, what is at risk, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurabilityFinding {
    /// What is wrong.
    pub kind: DurabilityKind,
    /// What could be lost.
    pub severity: Severity,
    /// The setting to change: a config of the topic, or `replication factor`; `any config` if a broker tells none.
    pub setting: &'static str,
    /// The value found, or why none was.
    pub value: String,
    /// The brokers with this value: where a topic has no value of its own, each broker has one. Empty for the replication
    /// factor.
    pub brokers: Vec<i32>,
}

/// What could be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Records that were acknowledged, if a broker fails.
    AcknowledgedRecords,
    /// It was not checked: perhaps all records.
    NotChecked,
    /// Records that nobody has deleted: brokers remove them.
    OldRecords,
    /// No record, but appends are refused.
    Appends,
}

/// What is wrong with a topic, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DurabilityKind {
    /// A partition has one replica: its records are lost with its broker.
    OneReplica,
    /// `min.insync.replicas` is less than 2: [`Acks::All`](crate::Acks::All) may mean one copy.
    MinInsyncTooLow,
    /// A replica without the last acknowledged records may become leader (`unclean.leader.election.enable`).
    UncleanElection,
    /// A value is not known: the broker does not tell it, or does not answer and may have another default than those that do.
    NotTold,
    /// A broker does not answer, but others have told the topic's own values, which it has too. Without an answer of any broker
    /// the check fails.
    NoAnswer,
    /// A record is removed when there is a later one with its key (`cleanup.policy`).
    Compaction,
    /// Records are removed after a time (`retention.ms`).
    RetentionMs,
    /// Records are removed beyond a size (`retention.bytes`).
    RetentionBytes,
    /// Records are removed by the timestamps that their writers gave them (`message.timestamp.type`).
    WritersTimes,
    /// A partition has two replicas: when a broker is down, either appends stop or records are in one copy.
    TwoReplicas,
    /// `min.insync.replicas` is not less than the replication factor: appends stop when a broker is down. With fewer than
    /// three replicas that is a finding anyway.
    MinInsyncTooHigh,
    /// A batch can be refused for its decompressed size, though not for the size it has on the wire
    /// (`max.decompressed.message.bytes`, since Kafka 4.4).
    Decompressed,
}

use DurabilityKind as Kind;

impl DurabilityKind {
    /// The setting to change, what could be lost, and what to do.
    fn row(self) -> (&'static str, Severity, &'static str) {
        use Severity::{AcknowledgedRecords as Acknowledged, Appends, NotChecked, OldRecords};
        match self {
            Self::OneReplica => ("replication factor", Acknowledged, "give it three replicas"),
            Self::MinInsyncTooLow => ("min.insync.replicas", Acknowledged, "set it to 2"),
            Self::UncleanElection => ("unclean.leader.election.enable", Acknowledged, "set it to false"),
            Self::NotTold => ("any config", NotChecked, "grant DESCRIBE_CONFIGS, or set it at the topic"),
            Self::NoAnswer => ("any config", NotChecked, "check again when the broker answers"),
            Self::Compaction => ("cleanup.policy", OldRecords, "set it to delete"),
            Self::RetentionMs => ("retention.ms", OldRecords, "set it to -1"),
            Self::RetentionBytes => ("retention.bytes", OldRecords, "set it to -1"),
            Self::WritersTimes => ("message.timestamp.type", OldRecords, "set retention.ms to -1"),
            Self::TwoReplicas => ("replication factor", Appends, "give it three replicas"),
            Self::MinInsyncTooHigh => ("min.insync.replicas", Appends, "set it below the replication factor"),
            Self::Decompressed => ("max.decompressed.message.bytes", Appends, "set it to 2147483639"),
        }
    }
}

impl fmt::Display for DurabilityFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, severity, setting, value, brokers } = self;
        let at = if brokers.is_empty() { String::new() } else { format!(" at brokers {brokers:?}") };
        write!(f, "{setting} is {value}{at} (at risk: {severity:?}); {}", kind.row().2)
    }
}

/// A finding without the brokers where it was made.
type Wrong = (DurabilityKind, &'static str, String);

/// All partitions of a topic, or only this one: other brokers' settings mean nothing for it.
pub(crate) async fn check(core: &Core, topic: &str, only: Option<i32>) -> Result<Vec<DurabilityFinding>> {
    let deadline = core.begin()?;
    let mut partitions = topics::describe(core, topic, deadline).await?.partitions;
    partitions.retain(|index, _| only.is_none_or(|only| only == *index));
    let replicas = partitions.values().map(|partition| partition.replicas.len()).min().unwrap_or(0);
    let mut found = BTreeMap::<Wrong, Vec<i32>>::new();
    if replicas < 3 {
        let kind = if replicas == 2 { Kind::TwoReplicas } else { Kind::OneReplica };
        found.insert((kind, kind.row().0, replicas.to_string()), Vec::new());
    }
    let brokers: BTreeSet<i32> = partitions.into_values().flat_map(|partition| partition.replicas).collect();
    let mut is_own = None;
    for (asked, broker) in brokers.iter().enumerate() {
        // One that is down must not delay a takeover.
        let (now, left) = (core.cluster.env().now(), (brokers.len() - asked) as u32);
        let share = Deadline::after(now, MOST_FOR_ONE.min(deadline.remaining(now) / left));
        let share = if left == 1 && is_own.is_none() { deadline } else { share };
        let wrong = match configs::describe(core, Node::Id(*broker), topic, share).await {
            Ok(configs) => {
                is_own = Some(are_of_topic(&configs));
                judge(replicas as i64, &configs)
            }
            Err(error) if error.is_retriable() && left == 1 && is_own.is_none() => return Err(error),
            Err(error) => {
                let kind = if error.is_retriable() { Kind::NoAnswer } else { Kind::NotTold };
                vec![(kind, kind.row().0, format!("not told ({})", error.kind()))]
            }
        };
        wrong.into_iter().for_each(|wrong| found.entry(wrong).or_default().push(*broker));
    }
    let findings = found.into_iter().map(|((kind, setting, value), brokers)| {
        // What the topic does not set may be another value there.
        let kind = if kind == Kind::NoAnswer && is_own != Some(true) { Kind::NotTold } else { kind };
        let severity = kind.row().1;
        DurabilityFinding { kind, severity, setting, value, brokers }
    });
    Ok(findings.collect())
}

/// Whether the values that could lose records are the topic's own, and so the same at all brokers (Kafka class
/// `ConfigEntry.ConfigSource`).
fn are_of_topic(configs: &Configs) -> bool {
    use Kind::{Compaction, MinInsyncTooLow, RetentionBytes, RetentionMs, UncleanElection};
    let is_own = |kind: Kind| configs.get(kind.row().0).is_none_or(|config| config.config_source == 1);
    [MinInsyncTooLow, UncleanElection, Compaction, RetentionMs, RetentionBytes].into_iter().all(is_own)
}

/// What is wrong with the configs that a broker tells.
fn judge(replicas: i64, configs: &Configs) -> Vec<Wrong> {
    let text = |kind: Kind| configs.get(kind.row().0).and_then(|config| config.value.as_deref());
    let number = |kind| text(kind)?.parse::<i64>().ok();
    let largest = configs.get("max.message.bytes").and_then(|config| config.value.as_ref()?.parse().ok());
    let deletes = text(Kind::Compaction).is_none_or(|policy| policy.contains("delete"));
    let by_time = deletes && number(Kind::RetentionMs) >= Some(0);
    // Brokers before Kafka 4.4 have no such limit, and do not name it.
    let limit = number(Kind::Decompressed).unwrap_or(i64::MAX);
    let checks = [
        (Kind::MinInsyncTooLow, number(Kind::MinInsyncTooLow).map(|least| least < 2)),
        (Kind::MinInsyncTooHigh, Some(number(Kind::MinInsyncTooHigh) >= Some(replicas.max(3)))),
        (Kind::UncleanElection, text(Kind::UncleanElection).map(|value| value != "false")),
        (Kind::Compaction, text(Kind::Compaction).map(|policy| policy.contains("compact"))),
        (Kind::RetentionMs, number(Kind::RetentionMs).map(|time| deletes && time >= 0)),
        (Kind::RetentionBytes, number(Kind::RetentionBytes).map(|size| deletes && size >= 0)),
        (Kind::WritersTimes, text(Kind::WritersTimes).map(|whose| by_time && whose != "LogAppendTime")),
        (Kind::Decompressed, Some(Some(limit) < largest)),
    ];
    let is_wrong = |(_, wrong): &(Kind, Option<bool>)| *wrong != Some(false);
    let finding = |(kind, wrong): (Kind, Option<bool>)| {
        let value = text(kind).unwrap_or("not told").to_owned();
        (wrong.map_or(Kind::NotTold, |_| kind), kind.row().0, value)
    };
    checks.into_iter().filter(is_wrong).map(finding).collect()
}
