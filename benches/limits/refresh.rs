//! How long an append takes while the client learns of very many partitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rskafka::client::Client;
use serde_json::json;

use crate::broker::runtime;
use crate::calls::work;
use crate::ours;
use crate::raw::RawClient;
use crate::side::Work;

/// Of these lines, for a filter.
pub(crate) const NAME: &str = "refresh";

/// As many partitions as a broker makes at once.
const PARTITIONS: i32 = 10_000;
const TOPICS: i32 = 10;
const LISTS: usize = 21;
/// What it may take above the longest of a raw client beside it: the broker is busy too.
const BEYOND_NS: f64 = 10e6;

type Times = Vec<(Instant, Instant)>;

/// Prints a line for the limit.
pub(crate) fn measure(address: &str) {
    let runtime = runtime();
    let work = Work { address: address.to_owned(), ..work() };
    runtime.block_on(ours::new_topic(address, &work));
    let is_over = AtomicBool::new(false);
    let ((lists, ours), raw) = thread::scope(|scope| {
        let raw = scope.spawn(|| raw_appends(&work, &is_over));
        let ours = runtime.block_on(runtime.spawn(appends(work.clone()))).expect("it ends");
        is_over.store(true, Ordering::Relaxed);
        (ours, raw.join().expect("it ends"))
    });
    let pairs: Vec<_> = lists.iter().map(|list| (longest(&ours, list), longest(&raw, list))).collect();
    let line = json!({
        "name": NAME,
        "what": format!("the longest append while {} partitions are listed", PARTITIONS * TOPICS),
        "baseline_is": "a raw client's",
        "times": 1.0,
        "per_record_ns": BEYOND_NS,
        "instructions_tell": false,
        "records": 1.0,
        "pairs_ns": pairs,
    });
    println!("{line}");
}

/// In ns, of those that were under way while the list was.
fn longest(appends: &Times, (begin, end): &(Instant, Instant)) -> f64 {
    let under_way = appends.iter().filter(|(since, until)| since < end && until > begin);
    let longest = under_way.map(|(since, until)| *until - *since).max().expect("appends go on");
    longest.as_secs_f64() * 1e9
}

fn raw_appends(work: &Work, is_over: &AtomicBool) -> Times {
    let mut client = RawClient::connect(work);
    let mut appends = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let since = Instant::now();
        client.produce(false);
        appends.push((since, Instant::now()));
    }
    appends
}

/// The times of the lists and of the client's appends.
async fn appends(work: Work) -> (Times, Times) {
    let (client, logs) = ours::open(ours::Way::Records, &work).await;
    for topic in 0..TOPICS {
        client.create_topic(format!("many-{topic}"), PARTITIONS, 1).await.expect("a topic");
    }
    let lists = tokio::spawn(list(client.clone()));
    let (values, mut appends) = (ours::values(&work), Vec::new());
    while !lists.is_finished() {
        let since = Instant::now();
        logs[0].produce(ours::records(&values)).await.expect("an append");
        appends.push((since, Instant::now()));
    }
    let lists = lists.await.expect("it ends");
    for topic in 0..TOPICS {
        client.delete_topic(format!("many-{topic}")).await.expect("it is there");
    }
    (lists, appends)
}

/// When each list was asked for and was read.
async fn list(client: Client) -> Times {
    let mut times = Vec::new();
    for _ in 0..LISTS {
        let since = Instant::now();
        let topics = client.list_topics().await.expect("a list");
        times.push((since, Instant::now()));
        assert!(topics.len() > TOPICS as usize, "they are listed");
    }
    times
}
