//! A topic, and the rules for making one.
//!
//! Invariant: a [`NewTopic`] can be created: [`NewTopic::check`] refuses all that Kafka's controller would refuse.

use std::collections::{BTreeMap, BTreeSet};

use rskafka_protocol::{ErrorCode, Uuid};

use super::{Broker, Partition, State, TopicSettings};
use crate::profile::Quirks;

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) partitions: Vec<Partition>,
    /// The topic's own configs; the defaults are not among them.
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) settings: TopicSettings,
}

impl Topic {
    pub(super) fn new(id: Uuid, new: NewTopic, brokers: &[Broker]) -> Self {
        let is_alive = |id| brokers.iter().any(|broker| broker.id == id && broker.alive);
        let NewTopic { name, assignments, configs, settings } = new;
        let partitions = assignments.into_iter().map(|brokers| Partition::new(brokers, is_alive)).collect();
        Self { id, name, partitions, configs, settings }
    }

    /// Tells the partitions what they have to know of the settings.
    pub(super) fn apply_settings(&mut self, quirks: &Quirks) {
        let wanted = if quirks.commits_min_isr_only { self.settings.min_insync_replicas } else { 0 };
        for partition in &mut self.partitions {
            partition.commits_with = wanted.min(partition.replicas.len());
            partition.replicate();
        }
    }
}

/// The topic in which KRaft keeps the state of the cluster.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct TopicRequest {
    pub(crate) name: String,
    /// -1 for the default.
    pub(crate) num_partitions: i32,
    /// -1 for the default.
    pub(crate) replication_factor: i16,
    /// Partition index and brokers; empty to have them chosen.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    pub(crate) configs: BTreeMap<String, String>,
}

/// Why a topic is not created: a code, and words as Kafka has them.
pub(crate) type TopicRefused = (ErrorCode, String);

/// A topic that can be created.
#[derive(Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// The brokers of each partition, the preferred leader first.
    pub(crate) assignments: Vec<Vec<i32>>,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) settings: TopicSettings,
}

impl NewTopic {
    /// Checks a request in the order of Kafka's controller (Kafka class `ReplicationControlManager`; with
    /// ZooKeeper `ZkAdminManager`).
    /// It may not collide with a topic that is there, unless `created` says that the same request created it.
    pub(crate) fn check(
        request: TopicRequest,
        state: &State,
        created: &[String],
    ) -> Result<Self, TopicRefused> {
        let TopicRequest { name, num_partitions, replication_factor, assignments, configs } = request;
        let quirks = state.profile.quirks();
        if state.topic(&name).is_some() {
            return Err((ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
        }
        if name == CLUSTER_METADATA && !quirks.zookeeper {
            let why = format!("Creation of internal topic {name} is prohibited.");
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
        let name_is_valid = check_name(&name).and_then(|()| check_collisions(&name, state, created));
        let name_is_valid = name_is_valid.map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why));
        if !quirks.zookeeper {
            name_is_valid.clone()?;
        }
        let configs_are_valid = TopicSettings::check(&configs, state.profile);
        let configs_are_valid = configs_are_valid.map_err(|why| (ErrorCode::INVALID_CONFIG, why));
        // With ZooKeeper name and configs are looked at last (Kafka class `AdminZkClient`).
        if !quirks.zookeeper {
            configs_are_valid.clone()?;
        }
        let assignments = if assignments.is_empty() {
            place(num_partitions, replication_factor, state)?
        } else {
            check_assignments(num_partitions, replication_factor, assignments, state)?
        };
        name_is_valid?;
        configs_are_valid?;
        Ok(Self { settings: state.settings(&configs), name, assignments, configs })
    }
}

impl State {
    /// The brokers of partitions to be added to a topic, up to `count` in all.
    ///
    /// # Errors
    ///
    /// Kafka's controller would refuse it.
    pub(crate) fn new_partitions(
        &self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<Vec<Vec<i32>>, TopicRefused> {
        let Some(topic) = self.topic(name) else {
            return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("The topic {name} does not exist.")));
        };
        let current = topic.partitions.len() as i32;
        if count <= current {
            let why = match count == current {
                true => format!("Topic already has {current} partition(s)."),
                false => format!(
                    "The topic {name} currently has {current} partition(s); {count} would not be an increase."
                ),
            };
            return Err((ErrorCode::INVALID_PARTITIONS, why));
        }
        let (more, replicas) =
            (count - current, topic.partitions.first().map_or(1, |one| one.replicas.len()));
        let Some(assignments) = assignments else {
            return place(more, replicas as i16, self);
        };
        if assignments.len() != more as usize {
            let why = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
        }
        assignments.iter().try_for_each(|brokers| check_brokers(brokers, Some(replicas), self))?;
        Ok(assignments)
    }
}

/// The most partitions of one request that the fake takes: it keeps each as a few hundred bytes.
const MAX_PARTITIONS: i32 = 10_000;

/// Spreads partitions over the brokers, those that run first.
fn place(partitions: i32, replicas: i16, state: &State) -> Result<Vec<Vec<i32>>, TopicRefused> {
    let default = |name| state.configs.number(0, name);
    let partitions = if partitions == -1 { default("num.partitions") as i32 } else { partitions };
    let replicas = match replicas {
        -1 => i16::try_from(default("default.replication.factor")).unwrap_or(i16::MAX),
        replicas => replicas,
    };
    let refused = |code, why: &str| Err((code, why.to_owned()));
    if partitions <= 0 && state.profile.quirks().zookeeper {
        return refused(ErrorCode::INVALID_PARTITIONS, "Number of partitions must be larger than 0.");
    }
    if replicas <= 0 {
        let why = "Replication factor must be larger than 0, or -1 to use the default value.";
        return refused(ErrorCode::INVALID_REPLICATION_FACTOR, why);
    }
    if partitions <= 0 {
        let why = "Number of partitions was set to an invalid non-positive value.";
        return refused(ErrorCode::INVALID_PARTITIONS, why);
    }
    if partitions > MAX_PARTITIONS {
        let why = format!("Excessively large number of partitions per request: {partitions}.");
        return Err((ErrorCode::POLICY_VIOLATION, why));
    }
    let replicas = replicas as usize;
    if replicas > state.brokers.len() {
        let why = format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of \
             {replicas} cannot be reached because only {} broker(s) are registered or some brokers have all \
             their log directories cordoned.",
            state.brokers.len()
        );
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    // Each topic begins at the next broker, so that many small topics spread as well.
    let first = state.topics.len();
    let brokers = &state.brokers;
    let replicas_of = |partition: usize| {
        let mut nodes: Vec<&Broker> =
            (0..brokers.len()).map(|n| &brokers[(first + partition + n) % brokers.len()]).collect();
        nodes.sort_by_key(|broker| !broker.is_listed());
        nodes.truncate(replicas);
        nodes.iter().map(|broker| broker.id).collect()
    };
    Ok((0..partitions as usize).map(replicas_of).collect())
}

fn check_assignments(
    partitions: i32,
    replicas: i16,
    assignments: Vec<(i32, Vec<i32>)>,
    state: &State,
) -> Result<Vec<Vec<i32>>, TopicRefused> {
    for (what, number) in [("replication factor", i32::from(replicas)), ("numPartitions", partitions)] {
        if number != -1 {
            let why = format!("A manual partition assignment was specified, but {what} was not set to -1.");
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
    }
    let invalid = |why: String| Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    let mut placed = BTreeMap::new();
    for (index, brokers) in assignments {
        // With ZooKeeper the last one counts.
        if placed.contains_key(&index) && !state.profile.quirks().zookeeper {
            return invalid(format!("Found multiple manual partition assignments for partition {index}"));
        }
        check_brokers(&brokers, placed.values().next_back().map(Vec::len), state)?;
        placed.insert(index, brokers);
    }
    if placed.keys().copied().ne(0..placed.len() as i32) {
        return invalid("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(placed.into_values().collect())
}

/// Checks who is to hold a partition; `replicas` is how many are expected.
fn check_brokers(brokers: &[i32], replicas: Option<usize>, state: &State) -> Result<(), TopicRefused> {
    let invalid = |why| {
        Err((
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            format!("The manual partition assignment includes {why}"),
        ))
    };
    if brokers.is_empty() {
        return invalid("an empty replica list.".to_owned());
    }
    let mut known = BTreeSet::new();
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    for id in sorted {
        if state.broker(id).is_none() {
            return invalid(format!("broker {id}, but no such broker is registered."));
        } else if !known.insert(id) {
            return invalid(format!("the broker {id} more than once."));
        }
    }
    match replicas.filter(|replicas| *replicas != brokers.len()) {
        Some(replicas) => invalid(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, which have \
             {replicas} replica(s).",
            brokers.len()
        )),
        None => Ok(()),
    }
}

/// Names that differ only in `.` and `_` would collide in the names of Kafka's metrics.
fn check_collisions(name: &str, state: &State, created: &[String]) -> Result<(), String> {
    let unified = |name: &str| name.replace('.', "_");
    let mut known = state.topics().filter(|known| !created.contains(&known.name));
    match known.find(|known| unified(&known.name) == unified(name)) {
        Some(known) => Err(format!("Topic '{name}' collides with existing topic: {}", known.name)),
        None => Ok(()),
    }
}

/// Whether a topic may have this name (Kafka class `Topic`).
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    const MAX_LENGTH: usize = 249;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        Err("Topic name is invalid: the empty string is not allowed".to_owned())
    } else if matches!(name, "." | "..") {
        Err(format!("Topic name is invalid: '{name}' is not allowed"))
    } else if name.len() > MAX_LENGTH {
        Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {MAX_LENGTH}"
        ))
    } else if !name.chars().all(is_legal) {
        Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ))
    } else {
        Ok(())
    }
}
