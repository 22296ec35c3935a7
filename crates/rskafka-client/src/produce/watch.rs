//! Watches for answers that are overdue: the leader may stand still while the cluster has elected another.
//!
//! Invariant: a watch keeps neither the line nor the client alive, and ends when nothing is in flight.

use std::sync::Weak;
use std::time::Duration;

use rskafka_cluster::transport::Deadline;

use super::line::Line;

/// How long to wait before others are asked once more.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn watch(line: Weak<Line>, patience: Duration) {
    loop {
        let Some(strong) = line.upgrade() else { return };
        let Some((sent_at, leader, lease)) = strong.lock().watched() else { return };
        let cluster = &strong.partition.core.cluster;
        if cluster.is_closed() {
            return;
        }
        let mut due = Deadline::after(sent_at, patience);
        if due.is_over(cluster.env().now()) {
            let until = Deadline::after(cluster.env().now(), patience.max(PAUSE));
            if cluster.is_replaced(strong.partition.target(), &leader, until).await {
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
