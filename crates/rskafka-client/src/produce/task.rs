//! The task that waits for what the line cannot have at once: a pause, the leader and a connection to it, a producer id,
//! a look at the log, room on the connection. It ends as soon as nothing is to be waited for.

use std::sync::Arc;

use rskafka_cluster::{Failed, Leader, LeaderOf, Learned, NotDone};
use rskafka_protocol::ApiKey;
use tracing::Instrument;

use super::line::Line;
use super::sequencer::{Acknowledged, Action};
use super::state::{Errand, State};
use super::{verify, warm_up, watch};

/// Waits for a line. If it is dropped before its end, because its runtime ended or something panicked, all appends in the
/// line fail instead of waiting forever.
pub(crate) struct ProduceTask {
    line: Arc<Line>,
    is_over: bool,
}

impl ProduceTask {
    /// Not inlined: else each append, and each answer, reserves the stack that the task's future takes (8 KiB).
    #[inline(never)]
    pub(crate) fn start(line: &Arc<Line>) {
        let (task, core) = (Self { line: line.clone(), is_over: false }, &line.partition.core);
        core.tasks.spawn_on(task.run(), core.cluster.runtime());
    }

    async fn run(mut self) {
        loop {
            let need = self.line.lock().next_need();
            let line = &self.line;
            let Some(need) = need else { break };
            serve(line, need).await;
        }
        self.is_over = true;
    }
}

impl Drop for ProduceTask {
    fn drop(&mut self) {
        if !self.is_over {
            self.line.drive(|state| state.abandon(&self.line));
        }
    }
}

/// Waits for what is needed, on behalf of the oldest append.
async fn serve(line: &Arc<Line>, need: Action) {
    if matches!(need, Action::Send { .. }) {
        return wait_for_room(line).await;
    }
    let Some(errand) = line.drive(State::errand) else { return };
    let cluster = &line.partition.core.cluster;
    if let Some(moment) = errand.not_before {
        cluster.pause_until(moment.min(errand.deadline.instant())).await;
    }
    if errand.deadline.is_over(cluster.env().now()) {
        return line.drive(|state| state.give_up(line, errand, None));
    }
    let span = errand.attempts.span();
    match need {
        Action::ObtainProducerId => obtain_producer_id(line, errand).instrument(span).await,
        Action::Verify(acknowledged) => verify(line, errand, acknowledged).instrument(span).await,
        _ => lease(line, errand).instrument(span).await,
    }
}

/// Finds the leader, and leases a connection to it.
async fn lease(line: &Arc<Line>, mut errand: Errand) {
    let (cluster, target) = (&line.partition.core.cluster, line.partition.target());
    errand.attempts.api = ApiKey::PRODUCE;
    let leader = match cluster.locate(target, &mut errand.attempts).await {
        Ok(leader) => leader,
        Err(failure) => return line.drive(|state| state.give_up(line, errand, Some(failure))),
    };
    let leased = cluster.lease::<LeaderOf<'_>>(&leader, line.via(), &mut errand.attempts);
    // Often the leader is known to be away, and a dial has to wait for its turn.
    let leased = watch::unless_replaced(line, &leader, watch::PAUSE, leased).await;
    let leased = leased.map(|leased| leased.map_err(Learned::of_attempt));
    end(line, errand, &leader, leased, |state, errand, lease| state.leased(line, errand, &leader, lease));
}

/// Asks for a producer id, which any broker gives.
async fn obtain_producer_id(line: &Arc<Line>, mut errand: Errand) {
    let Some((leader, _)) = line.lock().held() else { return line.drive(State::lease_ended) };
    let patience = line.partition.core.limits.overdue_after;
    let obtaining = warm_up::obtain_producer_id(line, errand.deadline);
    let obtained = watch::unless_replaced(line, &leader, patience, obtaining).await;
    line.drive(|state| match obtained {
        None => state.replaced(errand),
        Some(Ok(producer)) => state.sequencer.obtained(producer),
        Some(Err(Failed { failure, attempts })) => {
            errand.attempts = *attempts;
            state.give_up(line, errand, Some(failure));
        }
    });
}

/// Looks whether the last acknowledged batch is still in the log.
async fn verify(line: &Arc<Line>, mut errand: Errand, acknowledged: Acknowledged) {
    let Some((leader, lease)) = line.lock().held() else { return line.drive(State::lease_ended) };
    errand.attempts.api = ApiKey::FETCH;
    let (partition, deadline) = (&*line.partition, errand.deadline);
    let is_current = line.lock().is_latest(&leader);
    let asked = verify::Asked { partition, leader: &leader, lease: &lease, is_current, deadline };
    let (patience, looking) = (partition.core.limits.overdue_after, verify::look(asked, acknowledged));
    let looked = watch::unless_replaced(line, &leader, patience, looking).await;
    end(line, errand, &leader, looked, |state, _, verified| state.verified(line, verified));
}

/// Ends an errand at the leader. It has no result if another leads now.
fn end<T>(
    line: &Arc<Line>,
    errand: Errand,
    leader: &Leader,
    result: Option<Result<T, NotDone>>,
    had: impl FnOnce(&mut State, Errand, T),
) {
    line.drive(|state| match result {
        None => state.replaced(errand),
        Some(Ok(result)) => had(state, errand, result),
        Some(Err(not_done)) => state.failed(line, errand, leader, not_done),
    });
}

/// Waits for room on the connection, and submits the first request in it.
async fn wait_for_room(line: &Arc<Line>) {
    let first = {
        let mut state = line.lock();
        let number = state.first_unsent();
        number.zip(state.first_request(line))
    };
    let Some((number, (lease, request, options))) = first else { return line.drive(|_| ()) };
    let reserved = lease.connection.reserve(&request, options).await;
    // Free room wakes others: it is not given back under the line's lock.
    let left = line.drive(|state| state.submit_reserved(line, number, reserved));
    drop(left);
}
