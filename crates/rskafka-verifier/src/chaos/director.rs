//! Carries out a plan on a cluster, and measures what each fault did to the writers.
//!
//! Invariant: a fault is over only when every broker is back, all replicas are in sync, and all writers that it struck
//! have been acknowledged again.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rskafka::client::Client;
use rskafka::protocol::ApiKey;
use rskafka::protocol::messages::metadata::MetadataResponsePartition;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Event, Fault, Operator, Options, Order, Planned, Profile, Way, of_seed, raw};
use crate::proxy::{Action, Direction, Moment, Proxy};
use crate::say;
use crate::sim::live::Stage;

/// How often the probe asks who leads.
const POLL: Duration = Duration::from_millis(20);
/// How long brokers have to recover; many times of what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The least with claimants: all processes may rest for seconds between two claims at the same time, and a claim can fail.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);
/// Where connections break.
const APIS: [ApiKey; 2] = [ApiKey::PRODUCE, ApiKey::FETCH];
/// How long connections may come to these moments.
const BREAKING: Duration = Duration::from_millis(500);
/// What the topic is changed to.
const CONFIGS: [&str; 4] =
    ["segment.bytes=1048576", "compression.type=lz4", "segment.bytes=8388608", "compression.type=producer"];

/// Carries out the plan of a seed. What there is no time for is left out.
pub(crate) async fn run(
    (client, stage): (&Client, &Stage),
    way: &Way,
    operator: impl Operator,
    &Options { seed, seconds, every, profile, .. }: &Options,
) -> Result<Vec<Event>> {
    let (start, length, mut events) = (Instant::now(), Duration::from_secs(seconds), Vec::new());
    let of_claims = CLAIM_PATIENCE * u32::from(profile == Profile::Claimants);
    let (probed, patience) = (vec![0; stage.partitions()], (every * 10).max(of_claims));
    let topic = stage.topic();
    let mut director = Director { client, stage, topic, way, operator, start, probed, patience };
    for planned in of_seed(seed, length, every) {
        sleep_until(start + planned.at).await;
        if start.elapsed() > length {
            break;
        }
        let event = director.strike(&planned).await.with_context(|| planned.fault.name())?;
        say!("{event}");
        events.push(event);
        if events.last().is_some_and(|event| event.pause.is_none()) {
            return Ok(events);
        }
    }
    sleep_until(start + length).await;
    Ok(events)
}

struct Director<'a, O> {
    client: &'a Client,
    stage: &'a Stage,
    topic: &'a str,
    way: &'a Way,
    operator: O,
    start: Instant,
    /// How long writers may take to be acknowledged on a whole cluster.
    patience: Duration,
    /// How many records the probe has sent to each partition.
    probed: Vec<u32>,
}

impl<O: Operator> Director<'_, O> {
    async fn strike(&mut self, &Planned { fault, pick, .. }: &Planned) -> Result<Event> {
        let known = self.in_sync().await?;
        let partition = pick % known.len();
        let leader = known[partition].leader_id;
        let (since, mut whom, mut probe) = (Instant::now(), "all".to_owned(), None);
        let mut struck: Vec<_> = (0..known.len()).collect();
        match fault {
            Fault::Kill(time) | Fault::Freeze(time) => {
                struck.retain(|index| known[*index].leader_id == leader);
                whom = format!("broker {leader}, leader of {struck:?}, for {time:?}");
                probe = Some(self.take_away(fault, time, partition, leader).await?);
            }
            Fault::Roll => {
                for broker in self.way.ids() {
                    self.operator.order(Order::ShutDown, broker).await?;
                    self.operator.order(Order::Start, broker).await?;
                    self.in_sync().await?;
                }
            }
            Fault::Elect => {
                self.operator.elect(&self.way.brokers, self.topic, known.len()).await?;
                let elected = self.in_sync().await?;
                let moved = known.iter().zip(elected).filter(|(old, new)| old.leader_id != new.leader_id);
                whom = format!("{} of the leaders", moved.count());
            }
            Fault::Config => {
                whom = CONFIGS[pick / known.len() % CONFIGS.len()].to_owned();
                let (name, value) = whom.split_once('=').unwrap_or_default();
                self.client.alter_configs(self.topic, &[(name, Some(value))]).await?;
            }
            Fault::Cut => self.break_connections(Action::Cut, BREAKING).await,
            Fault::Reset => self.break_connections(Action::Reset, BREAKING).await,
            Fault::Stall(time) => self.break_connections(Action::Freeze(Direction::ToClient), time).await,
            Fault::Slow(time) => {
                self.way.proxies.iter().for_each(|proxy| proxy.delay(time));
                sleep(time * 50).await;
                self.way.proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
            }
        }
        self.in_sync().await?;
        let whole = Instant::now();
        let acknowledged = until("a writer is not acknowledged any more", self.patience, async || {
            struck.iter().all(|index| self.stage.acknowledgements(*index).last() > Some(&whole))
        });
        let pauses = struck.iter().map(|index| longest_pause(&self.stage.acknowledgements(*index), since));
        let (at, pause) = (since - self.start, acknowledged.await.ok().and_then(|()| pauses.max()));
        Ok(Event { at, fault, whom, pause, probe, in_sync: whole - since })
    }

    /// Takes a leader away and brings it back; gives how long it took until an append beside the client was acknowledged, by another
    /// leader or the one that is back.
    async fn take_away(
        &mut self,
        fault: Fault,
        time: Duration,
        partition: usize,
        leader: i32,
    ) -> Result<Duration> {
        let is_kill = matches!(fault, Fault::Kill(_));
        let (gone, back) = if is_kill { (Order::Kill, Order::Start) } else { (Order::Freeze, Order::Thaw) };
        let since = Instant::now();
        self.operator.order(gone, leader).await?;
        let is_back = Cell::new(false);
        let Self { stage, topic, way, operator, probed, .. } = self;
        let coming_back = async {
            sleep_until(since + time).await;
            operator.order(back, leader).await?;
            is_back.set(true);
            Ok(())
        };
        let mut others = way.ids().filter(|id| *id != leader).cycle();
        let number = &mut probed[partition];
        let acknowledged = until("no leader acknowledges the probe's append", PATIENCE, async || {
            let known = raw::partitions(way.broker(others.next().unwrap_or(leader)), topic).await;
            let leads = known.ok().and_then(|known| Some(known.get(partition)?.leader_id)).unwrap_or(-1);
            if leads < 0 || (leads == leader && !is_back.get()) {
                return false;
            }
            *number += 1;
            let append = async |record: &_| raw::append(way.broker(leads), topic, partition, record).await;
            stage.probe(partition, *number - 1, append).await
        });
        let probing = async { acknowledged.await.map(|()| since.elapsed()) };
        Ok(tokio::try_join!(probing, coming_back)?.0)
    }

    async fn break_connections(&self, action: Action, time: Duration) {
        for (proxy, api) in self.way.proxies.iter().flat_map(|proxy| APIS.map(|api| (proxy, api))) {
            for moment in [Moment::Request(api), Moment::EndOfRequest(api), Moment::Answer(api)] {
                proxy.inject(moment, action);
            }
        }
        sleep(time).await;
        self.way.proxies.iter().for_each(Proxy::clear_faults);
        self.way.proxies.iter().for_each(Proxy::thaw);
    }

    async fn in_sync(&self) -> Result<Vec<MetadataResponsePartition>> {
        in_sync(&self.way.brokers, self.topic).await
    }
}

/// Waits until every broker says that all replicas are in sync; gives what the last one says of the partitions.
pub(crate) async fn in_sync(brokers: &[String], topic: &str) -> Result<Vec<MetadataResponsePartition>> {
    let mut known = Vec::new();
    for broker in brokers {
        let is_whole = |known: &MetadataResponsePartition| known.isr_nodes.len() == known.replica_nodes.len();
        until("not all replicas are in sync again", PATIENCE, async || {
            known = raw::partitions(broker, topic).await.unwrap_or_default();
            !known.is_empty() && known.iter().all(is_whole)
        })
        .await?;
    }
    Ok(known)
}

/// The longest time between two acknowledgements of which the later one came after `since`.
pub(crate) fn longest_pause(acknowledgements: &[Instant], since: Instant) -> Duration {
    let before = acknowledgements.partition_point(|time| *time <= since).saturating_sub(1);
    let pauses = acknowledgements[before..].windows(2).map(|pair| pair[1] - pair[0]);
    // Before the first one there is none to count from.
    let first = acknowledgements.first().map(|first| first.saturating_duration_since(since));
    pauses.chain(first).max().unwrap_or_default()
}

/// Waits until it is so.
pub(crate) async fn until(
    otherwise: &str,
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let since = Instant::now();
    while !is_so().await {
        ensure!(since.elapsed() < patience, "{otherwise}");
        sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_since_a_moment_is_found_whole() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let acknowledgements = [10, 5_000, 5_010, 8_010, 8_020, 8_530].map(at);
        let longest = |since| longest_pause(&acknowledgements, at(since)).as_millis();
        assert_eq!([0, 20, 5_000].map(longest), [4_990, 4_990, 3_000]);
        // It began before that moment.
        assert_eq!([6_000, 8_010, 8_530].map(longest), [3_000, 510, 0]);
        assert_eq!(longest_pause(&acknowledgements[2..], at(1_000)).as_millis(), 4_010);
        assert_eq!(longest_pause(&[], start), Duration::ZERO);
    }
}
