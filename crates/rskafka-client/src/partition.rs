//! One partition of a topic, as the mechanisms see it.

use std::sync::Arc;
use std::time::Duration;

use rskafka_cluster::LeaderOf;
use rskafka_protocol::{ApiKey, Uuid};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::Error;

/// The last version of Produce and Fetch that names topics; the later ones need a topic id, which not
/// every broker that speaks them gives.
pub(crate) const LAST_VERSION_BY_NAME: i16 = 12;

/// A partition of a client's cluster.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) core: Arc<Core>,
    pub(crate) topic: Arc<str>,
    /// Zero if the cluster's brokers have no topic ids.
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
}

impl Partition {
    /// The broker that leads the partition.
    pub(crate) fn target(&self) -> LeaderOf<'_> {
        LeaderOf { topic: &self.topic, partition: self.index, topic_id: self.topic_id, replica: None }
    }

    /// The end of the pause after so many failures in a row. At least a millisecond, so that a loop of pauses lets other tasks run.
    pub(crate) fn after_pause(&self, failures: u32) -> Instant {
        let cluster = &self.core.cluster;
        let pause = cluster.config().backoff.pause(failures, cluster.env().random());
        cluster.env().now() + pause.max(Duration::from_millis(1))
    }

    pub(crate) fn located(&self, error: Error, api: ApiKey) -> Error {
        error.located(Some(api), &self.topic, Some(self.index))
    }
}
