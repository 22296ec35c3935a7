//! What all calls of one client share: the cluster, the limits, and the tasks that `close` waits for.

use std::time::Duration;

use rskafka_cluster::Cluster;
use rskafka_cluster::transport::Deadline;
use rskafka_protocol::records::Decompressor;
use tokio_util::task::TaskTracker;

use crate::error::{Case, Error, ErrorKind, Result};
use crate::memory::SharedMemory;
use crate::spare::Spare;
use crate::time::to_i32_millis;

/// The bounds that hold for each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) delivery_timeout: Duration,
    pub(crate) api_timeout: Duration,
    /// Of all partition clients together.
    pub(crate) buffer_memory: usize,
    /// Of what one fetch gives.
    pub(crate) max_decompressed_bytes: usize,
    pub(crate) shares_produce_connections: bool,
    /// After this long without an answer to an append, others are asked who leads.
    pub(crate) overdue_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            delivery_timeout: Duration::from_secs(120),
            api_timeout: Duration::from_secs(60),
            buffer_memory: 256 * 1024 * 1024,
            max_decompressed_bytes: Decompressor::DEFAULT_LIMIT,
            shares_produce_connections: false,
            overdue_after: Duration::from_secs(1),
        }
    }
}

/// One client, shared by all handles to it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) cluster: Cluster,
    pub(crate) limits: Limits,
    /// `close` waits for these tasks, which run on the cluster's runtime, and for tokens.
    pub(crate) tasks: TaskTracker,
    pub(crate) spare: Spare,
    pub(crate) memory: SharedMemory,
}

impl Core {
    pub(crate) fn new(cluster: Cluster, limits: Limits) -> Self {
        let memory = SharedMemory::new(limits.buffer_memory);
        Self { cluster, limits, tasks: TaskTracker::new(), spare: Spare::default(), memory }
    }

    pub(crate) fn api_deadline(&self) -> Deadline {
        Deadline::after(self.cluster.env().now(), self.limits.api_timeout)
    }

    /// The deadline of a call that begins now. Fails once the client is closed.
    pub(crate) fn begin(&self) -> Result<Deadline> {
        self.check_open().map(|()| self.api_deadline())
    }

    /// How long a broker may take for a request, in milliseconds: until the deadline, at most for one attempt.
    pub(crate) fn broker_timeout_ms(&self, deadline: Deadline) -> i32 {
        let left = deadline.remaining(self.cluster.env().now());
        to_i32_millis(left.min(self.cluster.config().connection.request_timeout))
    }

    /// Until when a topic that brokers do not know is asked for again: it may be new.
    pub(crate) fn patience(&self) -> Deadline {
        Deadline::after(self.cluster.env().now(), self.cluster.config().unknown_topic_patience)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.tasks.is_closed() { Err(Error::new(Case::ClientClosed, ErrorKind::Closed)) } else { Ok(()) }
    }

    /// Refuses further calls, waits for the tasks, and ends the connections.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        // Each append ends by its delivery timeout; the second is for its last answer.
        let longest = self.limits.delivery_timeout.saturating_add(Duration::from_secs(1));
        let _ = tokio::time::timeout(longest, self.tasks.wait()).await;
        self.cluster.close().await;
        self.spare.free();
    }
}
