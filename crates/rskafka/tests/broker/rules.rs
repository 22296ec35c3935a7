//! The rules of the simulation on real brokers: nothing acknowledged is missing, nothing is there twice or in another
//! order, and what is called not written is not there, whatever breaks on the way.

use std::time::Duration;

use rskafka::client::{Client, OffsetAt};
use rskafka::protocol::ApiKey;
use rskafka_verifier::proxy::{Action, BrokerProcess, Direction, FaultId, Moment, Proxy};
use rskafka_verifier::sim::Live;
use tokio::time::{Instant, sleep};

use crate::common::{PATIENCE, new_topic, served};
use crate::environment::Environment;

const PARTITIONS: usize = 3;
/// How long connections break, one after the other.
const BREAKING: Duration = Duration::from_secs(3);
/// How long a broker then stands still: longer than the cluster waits before it elects others in its place.
const STANDSTILL: Duration = Duration::from_millis(4_500);

/// Where the way to a broker breaks, and how.
const BREAKS: [(Moment, Action); 7] = [
    (Moment::Request(ApiKey::PRODUCE), Action::Reset),
    (Moment::EndOfRequest(ApiKey::PRODUCE), Action::Cut),
    (Moment::Answer(ApiKey::PRODUCE), Action::Cut),
    (Moment::Answer(ApiKey::PRODUCE), Action::Freeze(Direction::ToClient)),
    (Moment::Answer(ApiKey::FETCH), Action::Reset),
    (Moment::Request(ApiKey::FETCH), Action::Cut),
    (Moment::Request(ApiKey::METADATA), Action::Cut),
];

struct Way {
    proxies: Vec<Proxy>,
    injected: Vec<(usize, FaultId)>,
}

impl Way {
    /// The only way to the brokers: where they say that they are, there is a proxy.
    async fn new(environment: &Environment) -> Self {
        let mut proxies = Vec::new();
        let targets = environment.list("listener.PROXY");
        for (advertised, target) in environment.list("advertised.PROXY").iter().zip(targets) {
            proxies.push(Proxy::listen(advertised.parse().unwrap(), target).await.unwrap());
        }
        Self { proxies, injected: Vec::new() }
    }

    fn inject(&mut self, index: usize, moment: Moment, action: Action) {
        self.injected.push((index, self.proxies[index].inject(moment, action)));
    }

    fn struck(&self) -> u64 {
        self.injected.iter().map(|(index, fault)| self.proxies[*index].struck(*fault)).sum()
    }

    /// Breaks one connection after the other, then has the leader stand still; gives how often something struck.
    async fn breaks(&mut self, (leader, process): (usize, BrokerProcess)) -> u64 {
        let until = Instant::now() + BREAKING;
        let mut count = 0;
        while Instant::now() < until {
            let (moment, action) = BREAKS[count % BREAKS.len()];
            self.inject(count % self.proxies.len(), moment, action);
            count += 1;
            sleep(Duration::from_millis(50)).await;
            if count.is_multiple_of(4) {
                self.proxies.iter().for_each(Proxy::thaw);
            }
        }
        self.proxies.iter().for_each(Proxy::thaw);
        self.inject(leader, Moment::Answer(ApiKey::PRODUCE), Action::Stop(process));
        sleep(STANDSTILL).await;
        // What is taken back is not known any more.
        let struck = self.struck();
        self.proxies.iter().for_each(Proxy::clear_faults);
        self.proxies.iter().for_each(Proxy::thaw);
        struck
    }
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn whatever_breaks_on_the_way_the_rules_of_the_simulation_hold() {
    crate::alone(|environment| async move {
        let mut way = Way::new(&environment).await;
        let client = environment.client("PLAINTEXT").build().await.unwrap();
        let topic = new_topic("rules");
        let brokers = way.proxies.len() as i16;
        let created = client.create_topic(&topic, PARTITIONS as i32, brokers.min(3));
        created.config("min.insync.replicas", (brokers.min(3) - 1).max(1).to_string()).await.unwrap();
        for partition in 0..PARTITIONS {
            served(&client, &topic, partition as i32).await;
        }
        let live = Live {
            client: Client::builder(environment.list("advertised.PROXY")),
            topic: topic.clone(),
            partitions: PARTITIONS,
            duration: BREAKING + STANDSTILL + Duration::from_millis(500),
            seed: 1,
        };
        // Not any broker leads: one that has only just come back does not when topics are made.
        let described = client.describe_topic(&topic).await.unwrap();
        let leader = described.partitions[&0].leader.expect("a leader") as usize - 1;
        let pid = environment.list("broker.pids")[leader].parse().unwrap();
        let process = BrokerProcess::with_pid(pid).unwrap();
        let (outcome, struck) = tokio::join!(live.run(), way.breaks((leader, process)));
        let outcome = outcome.unwrap();
        println!("{struck} of {} faults struck; {outcome:?}", way.injected.len());
        assert_eq!(outcome.findings, []);
        // Few appends are unknown in the end: they are sent again until they are acknowledged.
        assert!(struck > 10, "little went wrong");
        assert!(outcome.acknowledged > 100 && outcome.read >= outcome.acknowledged);
        let mut epochs = Vec::new();
        for partition in 0..PARTITIONS {
            let end = served(&client, &topic, partition as i32).await.get_offset(OffsetAt::Latest).await;
            epochs.push(end.unwrap().leader_epoch);
        }
        // What stands still is replaced, where there is somebody to do it. Kafka begins with epoch 0.
        assert!(brokers == 1 || epochs.iter().any(|epoch| *epoch > Some(0)), "{epochs:?}");
        client.delete_topic(&topic).await.unwrap();
        is_whole(&client, brokers).await;
    });
}

/// Waits until topics can be made on all brokers again: with ZooKeeper, one that stood still and was the controller
/// takes a while to see that it is not.
async fn is_whole(client: &Client, brokers: i16) {
    let asking = async {
        while client.create_topic(new_topic("whole"), 1, brokers).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the cluster is not whole again");
}
