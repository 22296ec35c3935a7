//! The requests that both clusters are asked, in order.

mod admin;
mod appends;
mod epochs;
mod frozen;
mod gone;
mod internal;
mod producers;
mod reads;
mod surplus;
mod topics;

use serde_json::Value;

use super::target::Target;

/// Asks everything; gives each case with its answer.
pub(crate) async fn run(target: &mut Target) -> Vec<(String, Value)> {
    topics::versions(target).await;
    topics::metadata(target).await;
    topics::create(target).await;
    topics::collide(target).await;
    topics::delete(target).await;
    appends::accepted(target).await;
    appends::refused(target).await;
    appends::by_config(target).await;
    appends::without_answer(target).await;
    reads::fetch(target).await;
    reads::fetch_limits(target).await;
    reads::list_offsets(target).await;
    gone::recreated(target).await;
    gone::expired(target).await;
    producers::coordinators(target).await;
    internal::topics(target).await;
    producers::init_errors(target).await;
    producers::sequences(target).await;
    producers::duplicates(target).await;
    producers::fence(target).await;
    epochs::ends(target).await;
    admin::delete_records(target).await;
    admin::create_partitions(target).await;
    admin::configs(target).await;
    admin::describe_cluster(target).await;
    surplus::all(target).await;
    frozen::broker(target).await;
    target.clean_up().await;
    std::mem::take(&mut target.answers)
}
