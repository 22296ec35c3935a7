//! Watches for answers that are overdue: the leader may stand still while the cluster has elected another.
//!
//! Invariant: the watch of appends in flight keeps neither the line nor the client alive, and ends with the last of them.

use std::sync::Weak;
use std::time::Duration;

use rskafka_cluster::Leader;
use rskafka_cluster::transport::Deadline;

use super::line::Line;

/// How long to wait before others are asked once more.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Watches the appends in flight.
pub(crate) async fn watch(line: Weak<Line>) {
    loop {
        let Some(strong) = line.upgrade() else { return };
        let Some((sent_at, leader, lease)) = strong.lock().watched() else { return };
        let cluster = &strong.partition.core.cluster;
        if cluster.is_closed() {
            return;
        }
        let mut due = Deadline::after(sent_at, strong.partition.core.limits.overdue_after);
        if due.is_over(cluster.env().now()) {
            if is_replaced(&strong, &leader).await {
                tracing::debug!(broker = leader.broker.id, "an answer is overdue, and another leads");
                // What is in flight fails, and is sent again to the new leader.
                lease.end();
            }
            due = Deadline::after(cluster.env().now(), PAUSE);
        }
        let pause = cluster.pause_until(due.instant());
        drop((strong, leader, lease));
        pause.await;
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
    cluster.is_replaced(line.partition.target(), leader, until).await
}
