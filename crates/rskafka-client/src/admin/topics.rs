//! Creates, describes and deletes topics, and adds partitions. When a creation returns, each partition can be written and
//! read.

use std::sync::Arc;

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{LeaderOf, Node};
use rskafka_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use rskafka_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use rskafka_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use rskafka_protocol::messages::list_offsets::EARLIEST_TIMESTAMP;
use rskafka_protocol::{ErrorCode, Uuid};

use crate::ask::Ask;
use crate::core::Core;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::offsets;

pub use rskafka_cluster::{Partition, Topic};

/// The last version of DeleteTopics with a plain list of names, which all brokers speak so far.
const DELETE_BY_NAME: i16 = 5;

/// A topic to be created: `.await` it, after any options.
///
/// When that returns, the topic exists and the leader of each partition serves it. Cancel safe: a dropped future may
/// still create it.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] for numbers that cannot be, or that an assignment does not have. [`ErrorKind::Broker`] with
/// `TOPIC_ALREADY_EXISTS`, unless [`if_missing`](Self::if_missing) is set, and others. If the time runs out, or the client
/// may not describe the topic, [`Error::outcome`] tells whether it may have been created.
///
/// [`ErrorKind::InvalidArgument`]: crate::error::ErrorKind::InvalidArgument
/// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
#[derive(Debug)]
#[must_use = "nothing is created until this is awaited"]
pub struct CreateTopic {
    core: Arc<Core>,
    topic: CreatableTopic,
    if_missing: bool,
    validate_only: bool,
}

/// With this many replicas, appends can require two copies and continue while a broker is down.
const REPLICAS_FOR_TWO_COPIES: i16 = 3;

impl CreateTopic {
    pub(crate) fn new(core: Arc<Core>, name: String, partitions: i32, replication_factor: i16) -> Self {
        let topic =
            CreatableTopic { name, num_partitions: partitions, replication_factor, ..Default::default() };
        Self { core, topic, if_missing: false, validate_only: false }
    }

    /// Sets a config of the topic, e.g. `max.message.bytes` to `10485760`. Of several values for one config
    /// the last counts.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let config = CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
        self.topic.configs.retain(|other| other.name != config.name);
        self.topic.configs.push(config);
        self
    }

    /// Sets the configs that a write-ahead log needs. To change one of them, call [`config`](Self::config)
    /// after this.
    ///
    /// | config | value | why |
    /// |---|---|---|
    /// | `cleanup.policy` | `delete` | compaction would remove records |
    /// | `retention.ms`, `retention.bytes` | `-1` | records stay until they are deleted on purpose |
    /// | `unclean.leader.election.enable` | `false` | a replica without the last acknowledged records may not become leader |
    /// | `min.insync.replicas` | `2`, with 3 replicas or more | [`Acks::All`] then means at least two copies, also while a broker is down |
    ///
    /// With fewer replicas, or with -1 for the brokers' default number or that of an assignment, `min.insync.replicas` is the
    /// brokers' default.
    ///
    /// [`Acks::All`]: crate::Acks::All
    pub fn for_log(self) -> Self {
        let topic = self
            .config("cleanup.policy", "delete")
            .config("retention.ms", "-1")
            .config("retention.bytes", "-1")
            .config("unclean.leader.election.enable", "false");
        let has_replicas = topic.topic.replication_factor >= REPLICAS_FOR_TWO_COPIES;
        if has_replicas { topic.config("min.insync.replicas", "2") } else { topic }
    }

    options! {
        /// Succeeds also if a topic of this name exists.
        ///
        /// The existing topic is neither changed nor compared with the options: it may have fewer partitions or replicas, and
        /// other configs. [`Client::list_topics`](crate::Client::list_topics) lists its partitions. As after a creation, the
        /// call waits until each partition has a leader that answers; if one has none, the call fails at the api timeout.
        pub fn if_missing() => if_missing = true;

        /// Has the controller check the request, and creates nothing.
        pub fn validate_only() => validate_only = true;
    }

    /// Says which brokers hold each partition, the preferred leader first. The controller chooses by default.
    ///
    /// The numbers given to [`Client::create_topic`](crate::Client::create_topic) must be those of the assignment, or -1.
    ///
    /// ```no_run
    /// # async fn example(client: rskafka_client::Client) -> rskafka_client::error::Result<()> {
    /// client.create_topic("wal", 2, 3).replica_assignment([[1, 2, 3], [2, 3, 1]]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replica_assignment(mut self, brokers: impl IntoIterator<Item = impl Into<Vec<i32>>>) -> Self {
        let assignment =
            |(index, ids)| CreatableReplicaAssignment { partition_index: index, broker_ids: Into::into(ids) };
        self.topic.assignments = (0..).zip(brokers).map(assignment).collect();
        self
    }

    /// Whether the numbers can be, and the assignment has them.
    fn is_valid(&self) -> bool {
        let CreatableTopic { num_partitions, replication_factor, assignments, .. } = &self.topic;
        let fits = |number: i32, count: usize| number == -1 || usize::try_from(number) == Ok(count);
        // Whether they are different brokers is the controller's to say.
        let is_assigned = |one: &CreatableReplicaAssignment| {
            !one.broker_ids.is_empty() && fits((*replication_factor).into(), one.broker_ids.len())
        };
        let has_all = assignments.is_empty() || fits(*num_partitions, assignments.len());
        let are_numbers = matches!((num_partitions, replication_factor), (-1 | 1.., -1 | 1..));
        are_numbers && has_all && assignments.iter().all(is_assigned)
    }

    async fn create(self) -> Result<()> {
        if !self.is_valid() {
            let what = "partitions and replicas are positive or -1, and an assignment has as many";
            return Err(Error::invalid(what).located(None, &self.topic.name, None));
        }
        let Self { core, mut topic, if_missing, validate_only } = self;
        if !topic.assignments.is_empty() {
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
        }
        let (name, deadline) = (&topic.name, core.begin()?);
        let ask = Ask::new(&core, Node::Controller, name, deadline);
        let ask = Ask { writes: !validate_only, already: ErrorCode::TOPIC_ALREADY_EXISTS, ..ask };
        let build = |_: &_, timeout_ms| {
            let topics = vec![topic.clone()];
            CreateTopicsRequest { topics, timeout_ms, validate_only }
        };
        let find = |response: CreateTopicsResponse| {
            let found = response.topics.into_iter().find(|found| found.name == *name)?;
            let is_there = if_missing && found.error_code == ErrorCode::TOPIC_ALREADY_EXISTS;
            Some((if is_there { ErrorCode::NONE } else { found.error_code }, found.error_message, ()))
        };
        ask.send(build, find).await?;
        if validate_only {
            return Ok(());
        }
        let served = async {
            // Fails at once without the right to describe the topic, which the right to create it does not include.
            let topic = core.cluster.topic(name, deadline, deadline).await.map_err(Error::of_read)?;
            wait_until_served(&core, name, topic.partitions.into_keys().collect(), deadline).await
        };
        served.await.map_err(|error| error.located(None, name, None).with_outcome(Outcome::Unknown))
    }
}

awaited!(CreateTopic, create, ());

/// Waits until each partition's leader answers: the controller knows of a partition before its leader does.
async fn wait_until_served(core: &Core, topic: &str, partitions: Vec<i32>, deadline: Deadline) -> Result<()> {
    for partition in partitions {
        let target = LeaderOf { topic, partition, topic_id: Uuid::ZERO, replica: None };
        let is_late = || deadline.is_over(core.cluster.env().now());
        loop {
            match offsets::list(core, target, EARLIEST_TIMESTAMP, deadline).await {
                // Brokers do not know it yet.
                Err(error) if *error.kind() == ErrorKind::UnknownTopicOrPartition && !is_late() => {}
                listed => break listed.map(drop)?,
            }
        }
    }
    Ok(())
}

pub(crate) async fn describe(core: &Core, name: &str, deadline: Deadline) -> Result<Topic> {
    let found = core.cluster.topic(name, core.patience(), deadline).await;
    found.map_err(|failed| Error::of_read(failed).located(None, name, None))
}

pub(crate) async fn delete(core: &Core, name: &str) -> Result<()> {
    let ask = Ask::new(core, Node::Controller, name, core.begin()?);
    let already = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let build = |_: &_, timeout_ms| {
        let topic_names = vec![name.to_owned()];
        DeleteTopicsRequest { topic_names, timeout_ms, ..Default::default() }
    };
    let find = |response: DeleteTopicsResponse| {
        let found = response.responses.into_iter().find(|found| found.name.as_deref() == Some(name))?;
        Some((found.error_code, found.error_message, ()))
    };
    let deleted = Ask { already, max_version: Some(DELETE_BY_NAME), ..ask }.send(build, find).await;
    core.cluster.forget_topic(name);
    deleted
}

pub(crate) async fn create_partitions(core: &Core, name: &str, count: i32) -> Result<()> {
    if count < 1 {
        return Err(Error::invalid("the number of partitions is not positive").located(None, name, None));
    }
    let deadline = core.begin()?;
    let build = |_: &_, timeout_ms| {
        let topics = vec![CreatePartitionsTopic { name: name.to_owned(), count, assignments: None }];
        CreatePartitionsRequest { topics, timeout_ms, validate_only: false }
    };
    let find = |response: CreatePartitionsResponse| {
        let found = response.results.into_iter().find(|found| found.name == name)?;
        Some((found.error_code, found.error_message, ()))
    };
    let ask = Ask::new(core, Node::Controller, name, deadline);
    Ask { already: ErrorCode::INVALID_PARTITIONS, ..ask }.send(build, find).await?;
    core.cluster.mark_stale(name);
    let served = wait_until_served(core, name, (0..count).collect(), deadline).await;
    served.map_err(|error| error.with_outcome(Outcome::Unknown))
}
