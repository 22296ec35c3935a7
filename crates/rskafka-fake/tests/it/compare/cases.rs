//! The requests that both clusters are asked, in order.

mod appends;
mod reads;
mod topics;

use rskafka_protocol::Message;
use serde_json::Value;

use super::target::Target;

/// Asks everything; gives each case with its answer.
pub(crate) async fn run(target: &mut Target) -> Vec<(String, Value)> {
    topics::versions(target).await;
    topics::metadata(target).await;
    topics::create(target).await;
    topics::delete(target).await;
    appends::accepted(target).await;
    appends::refused(target).await;
    appends::by_config(target).await;
    appends::without_answer(target).await;
    reads::fetch(target).await;
    reads::fetch_limits(target).await;
    reads::list_offsets(target).await;
    target.clean_up().await;
    std::mem::take(&mut target.answers)
}

fn all_versions<M: Message>() -> impl Iterator<Item = i16> {
    M::VERSIONS.iter()
}
