//! The line of one partition: its appends in the order of the calls, and the connection that they go over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rskafka_cluster::transport::Deadline;
use rskafka_cluster::{Lane, Via};
use rskafka_protocol::records::RecordBatch;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::request::{Acks, Produced};
use crate::error::Result;
use crate::partition::Partition;

/// An append that waits for its turn.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) batch: RecordBatch,
    pub(crate) deadline: Deadline,
    pub(crate) result: oneshot::Sender<Result<Produced>>,
}

/// The appends to one partition by one partition client and its clones.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) partition: Arc<Partition>,
    pub(crate) acks: Acks,
    lane: Lane,
    queue: Mutex<Queue<Append>>,
}

impl Line {
    pub(crate) fn new(partition: Arc<Partition>, acks: Acks) -> Self {
        let queue = Mutex::new(Queue::new(partition.core.limits().buffer_memory));
        Self { partition, acks, lane: Lane::new(), queue }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue<Append>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn via(&self) -> Via<'_> {
        if self.partition.core.limits().shares_produce_connections {
            Via::SharedProduce
        } else {
            Via::Own(&self.lane)
        }
    }
}
