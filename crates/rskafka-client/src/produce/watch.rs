//! Watches for answers that are overdue, because the leader may stand still while the cluster has elected another; and for
//! appends whose time is over before their next attempt.
//!
//! Invariant: the watch keeps neither the line nor the client alive, and ends with the appends that it watches.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rskafka_cluster::Leader;
use rskafka_cluster::transport::Deadline;

use super::line::Line;

/// How long to wait before others are asked once more.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Watches the appends that are not settled. Not inlined, as for [`ProduceTask::start`](super::task::ProduceTask::start).
#[inline(never)]
pub(crate) fn start(line: &Arc<Line>) {
    line.partition.core.cluster.runtime().spawn(watch(Arc::downgrade(line)));
}

async fn watch(line: Weak<Line>) {
    loop {
        let Some(strong) = line.upgrade() else { return };
        let (cluster, patience) =
            (&strong.partition.core.cluster, strong.partition.core.limits.overdue_after);
        if cluster.is_closed() {
            return;
        }
        let overdue = strong.lock().overdue(cluster.env().now(), patience);
        if let Some((leader, lease)) = overdue
            && is_replaced(&strong, &leader).await
        {
            tracing::debug!(broker = leader.broker.id, "an answer is overdue, and another leads");
            // What is in flight fails, and is sent again to the new leader.
            lease.connection.end();
        }
        // Gives up what is late.
        strong.drive(|_| ());
        let Some(next) = strong.lock().watched(patience) else {
            // Another line that is busy has its memory again after its next batches.
            strong.partition.core.spare.free();
            return;
        };
        let (pause, sooner) = (cluster.pause_until(next), strong.sooner.clone());
        drop(strong);
        tokio::select! { biased;
            () = sooner.notified() => {}
            () = pause => {}
        }
    }
}

/// Waits for something of a leader; `None` if it takes longer than `patience` and another leads.
pub(crate) async fn unless_replaced<T>(
    line: &Line,
    leader: &Leader,
    patience: Duration,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let replaced = async {
        let cluster = &line.partition.core.cluster;
        let mut pause = patience;
        loop {
            cluster.pause_until(Deadline::after(cluster.env().now(), pause).instant()).await;
            if is_replaced(line, leader).await {
                return;
            }
            pause = PAUSE;
        }
    };
    tokio::select! { biased;
        done = awaited => Some(done),
        () = replaced => None,
    }
}

async fn is_replaced(line: &Line, leader: &Leader) -> bool {
    let (cluster, patience) = (&line.partition.core.cluster, line.partition.core.limits.overdue_after);
    let until = Deadline::after(cluster.env().now(), patience.max(PAUSE));
    cluster.mark_silent(&leader.broker);
    cluster.is_replaced(line.partition.target(), leader, until).await
}
