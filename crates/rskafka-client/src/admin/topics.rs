//! Creates and deletes topics. When a creation returns, the topic can be written and read.

use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::transport::{CallOptions, Deadline};
use rskafka_cluster::{Answer, Broker, Call, Failed, LeaderOf, Learned, Node, Verdict, Via};
use rskafka_protocol::ErrorCode;
use rskafka_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use rskafka_protocol::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use rskafka_protocol::messages::list_offsets::EARLIEST_TIMESTAMP;

use crate::core::Core;
use crate::error::{Error, Outcome, Result};
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
/// [`ErrorKind::Broker`] with `TOPIC_ALREADY_EXISTS`, unless [`if_missing`](Self::if_missing) is set, and
/// others. If the time runs out, or the client may not describe the topic, [`Error::outcome`] tells whether it
/// may have been created.
///
/// [`ErrorKind::Broker`]: crate::error::ErrorKind::Broker
#[derive(Debug)]
#[must_use = "nothing is created until this is awaited"]
pub struct CreateTopic {
    core: Arc<Core>,
    topic: CreatableTopic,
    if_missing: bool,
}

/// With this many replicas, appends can require two copies and continue while a broker is down.
const REPLICAS_FOR_TWO_COPIES: i16 = 3;

impl CreateTopic {
    pub(crate) fn new(core: Arc<Core>, name: String, partitions: i32, replication_factor: i16) -> Self {
        let topic =
            CreatableTopic { name, num_partitions: partitions, replication_factor, ..Default::default() };
        Self { core, topic, if_missing: false }
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
    /// With fewer replicas, or with -1 for the brokers' default number, `min.insync.replicas` is the brokers' default.
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

    /// Succeeds also if a topic of this name exists.
    ///
    /// The existing topic is neither changed nor compared with the options: it may have fewer partitions or replicas, and
    /// other configs. [`Client::list_topics`](crate::Client::list_topics) lists its partitions. As after a creation, the
    /// call waits until each partition has a leader that answers; if one has none, the call fails at the api timeout.
    pub fn if_missing(mut self) -> Self {
        self.if_missing = true;
        self
    }

    async fn create(self) -> Result<()> {
        let Self { core, topic, if_missing } = self;
        core.check_open()?;
        let name = topic.name.clone();
        let deadline = core.api_deadline();
        let build = |_: &_| {
            let topics = vec![topic.clone()];
            let request = |timeout_ms| CreateTopicsRequest { topics, timeout_ms, ..Default::default() };
            prepare(&core, deadline, request)
        };
        let judge = |answer: Answer<'_, CreateTopicsResponse, Broker>| {
            let found = answer.response.topics.iter().find(|topic| topic.name == name);
            let Some(topic) = found else { return Verdict::missing() };
            // An earlier attempt may have created it, whose answer was lost.
            if topic.error_code == ErrorCode::TOPIC_ALREADY_EXISTS && (if_missing || answer.may_be_applied) {
                return Verdict::Done(());
            }
            Verdict::of_code(topic.error_code, topic.error_message.as_deref(), None, ())
        };
        let call = Call { target: Node::Controller, via: Via::Control, deadline };
        let created = core.cluster.send(call, build, judge).await;
        created.map_err(|error| admin_error(error, &name))?;
        let served = wait_until_served(&core, &name, deadline).await;
        served.map_err(|error| error.with_outcome(Outcome::Unknown))
    }
}

awaited!(CreateTopic, create, ());

/// Waits until each partition's leader answers: the controller knows of a topic before the leaders do.
async fn wait_until_served(core: &Core, name: &str, deadline: Deadline) -> Result<()> {
    // Fails at once without the right to describe the topic, which the right to create it does not include.
    let topic = core.cluster.topic(name, true, deadline).await.map_err(|error| admin_error(error, name))?;
    for partition in topic.partitions.keys() {
        let target = LeaderOf { topic: name, partition: *partition, topic_id: topic.id, replica: None };
        offsets::list(core, target, EARLIEST_TIMESTAMP, deadline).await?;
    }
    Ok(())
}

pub(crate) async fn delete(core: &Core, name: &str) -> Result<()> {
    core.check_open()?;
    let deadline = core.api_deadline();
    let build = |_: &_| {
        let topic_names = vec![name.to_owned()];
        let request = |timeout_ms| DeleteTopicsRequest { topic_names, timeout_ms, ..Default::default() };
        let (request, options) = prepare(core, deadline, request);
        (request, CallOptions { max_version: Some(DELETE_BY_NAME), ..options })
    };
    let judge = |answer: Answer<'_, DeleteTopicsResponse, Broker>| {
        let found = answer.response.responses.iter().find(|topic| topic.name.as_deref() == Some(name));
        let Some(topic) = found else { return Verdict::missing() };
        let (code, message) = (topic.error_code, topic.error_message.as_deref());
        match code {
            // An earlier attempt has deleted it, whose answer was lost.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION if answer.may_be_applied => Verdict::Done(()),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Verdict::Fail(Learned::of_code(code, message, None)),
            code => Verdict::of_code(code, message, None, ()),
        }
    };
    let call = Call { target: Node::Controller, via: Via::Control, deadline };
    let deleted = core.cluster.send(call, build, judge).await;
    core.cluster.forget_topic(name);
    deleted.map_err(|error| admin_error(error, name))
}

fn admin_error(Failed { failure, attempts }: Failed, topic: &str) -> Error {
    let outcome = if attempts.may_be_applied { Outcome::Unknown } else { Outcome::NotWritten };
    Error::of_cluster(failure, &attempts, outcome).located(None, topic, None)
}

/// A request that gives the controller as long as the client waits for its answer.
fn prepare<R>(core: &Core, deadline: Deadline, request: impl FnOnce(i32) -> R) -> (R, CallOptions) {
    let timeout_ms = core.broker_timeout_ms(deadline);
    let wait = Duration::from_millis(timeout_ms.unsigned_abs().into());
    (request(timeout_ms), CallOptions { wait, ..CallOptions::new(deadline) })
}
