//! Brokers that stand still (SIGSTOP) at the first byte of a phase: each call returns by its deadline.
//!
//! These run alone: others would wait for the same broker.

use std::net::SocketAddr;
use std::time::Duration;

use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, ClientBuilder, OffsetAt, PartitionClient, Sasl, Tls};
use rskafka::protocol::ApiKey;
use rskafka::wal::Position;
use rskafka_verifier::proxy::{Action, BrokerProcess, Direction, FaultId, Moment, Proxy};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::common::{self, SLACK, exclusive, new_topic, read_all, record, served, values};
use crate::environment::Environment;

/// Far below the time after which a cluster takes a silent broker for dead.
const DEADLINE: Duration = Duration::from_millis(800);

/// More than the sockets between client and broker can hold.
const HUGE: usize = 24 << 20;

fn process(environment: &Environment, index: usize) -> BrokerProcess {
    let pid = environment.fact("broker.pids").split(',').nth(index).unwrap().parse().unwrap();
    BrokerProcess::with_pid(pid).unwrap()
}

fn listener(environment: &Environment, name: &str) -> Vec<String> {
    environment.fact(name).split(',').map(str::to_owned).collect()
}

fn builder(address: SocketAddr) -> ClientBuilder {
    Client::builder(vec![address.to_string()]).api_timeout(DEADLINE)
}

/// Awaits a call that has to fail at its deadline.
async fn overdue<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Error>>) -> Error {
    let since = Instant::now();
    let error = call.await.unwrap_err();
    let took = since.elapsed();
    assert!(took >= DEADLINE - SLACK, "too early, after {took:?}: {error:?}");
    assert!(took <= DEADLINE + SLACK, "too late, after {took:?}: {error:?}");
    assert!(error.is_timeout(), "{error:?}");
    error
}

/// Builds a client through a proxy that freezes the first broker at a moment.
async fn build_frozen(
    environment: &Environment,
    listener_name: &str,
    moment: Moment,
    secure: fn(&Environment, ClientBuilder) -> ClientBuilder,
) {
    let proxy = Proxy::start(listener(environment, listener_name).remove(0)).await.unwrap();
    let fault = proxy.inject(moment, Action::Stop(process(environment, 0)));
    overdue(secure(environment, builder(proxy.address())).build()).await;
    assert_eq!(proxy.struck(fault), 1, "{moment:?}");
    proxy.thaw();
    // A broker that goes on is as good as ever.
    secure(environment, builder(proxy.address())).api_timeout(Duration::from_secs(20)).build().await.unwrap();
}

fn tls(environment: &Environment, builder: ClientBuilder) -> ClientBuilder {
    let folder = std::path::Path::new(environment.fact("certificates"));
    builder.tls(Tls::ca_file(folder.join("ca.pem")).unwrap())
}

fn scram(environment: &Environment, builder: ClientBuilder) -> ClientBuilder {
    builder.sasl(Sasl::scram_sha_256(environment.fact("sasl.user"), environment.fact("sasl.password")))
}

/// A log behind proxies that are the only way to its brokers.
struct Frozen {
    proxies: Vec<Proxy>,
    faults: Vec<FaultId>,
    log: PartitionClient,
    _client: Client,
}

impl Frozen {
    /// Appends go on until `moment` comes for the second one; then the broker stands still.
    async fn at(environment: &Environment, moment: Moment, and: &[Action]) -> Self {
        let advertised = listener(environment, "advertised.PROXY");
        let mut proxies = Vec::new();
        for (advertised, target) in advertised.iter().zip(listener(environment, "listener.PROXY")) {
            proxies.push(Proxy::listen(advertised.parse().unwrap(), target).await.unwrap());
        }
        let client = Client::builder(advertised).delivery_timeout(DEADLINE).build().await.unwrap();
        let topic = new_topic("frozen");
        let created = client.create_topic(&topic, 1, 1).config("max.message.bytes", (2 * HUGE).to_string());
        created.await.unwrap();
        let log = served(&client, &topic, 0).await;
        log.produce([record("first")]).await.unwrap();
        let mut faults = Vec::new();
        for (index, proxy) in proxies.iter().enumerate() {
            let stop = Action::Stop(process(environment, index));
            for &action in and {
                proxy.inject(moment, action);
            }
            faults.push(proxy.inject(moment, stop));
        }
        Self { proxies, faults, log, _client: client }
    }

    /// Appends `value` to the broker that freezes; then, on the thawed one, another. Gives what is read.
    async fn append(self, value: String) -> Vec<String> {
        // What it takes to encode a large value counts too.
        let error = overdue(async { self.log.produce([record(value)]).await }).await;
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        let struck = self.proxies.iter().zip(&self.faults).map(|(proxy, fault)| proxy.struck(*fault));
        assert_eq!(struck.sum::<u64>(), 1);
        self.proxies.iter().for_each(Proxy::clear_faults);
        self.proxies.iter().for_each(Proxy::thaw);
        // The deadline is too short for a broker that has just come back.
        let next = async {
            while self.log.produce([record("next")]).await.is_err() {}
            self.log.get_offset(OffsetAt::Latest).await.unwrap()
        };
        timeout(Duration::from_secs(20), next).await.unwrap();
        values(&read_all(&self.log).await)
    }
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn connecting_to_a_full_backlog_ends_at_the_deadline() {
    crate::alone(|_| async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        // Full, when the kernel leaves a connection without an answer.
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            filling.push(stream.unwrap());
        }
        overdue(builder(address).build()).await;
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_tls_handshake_with_a_frozen_broker_ends_at_the_deadline() {
    crate::alone(|environment| async move {
        for record in [Moment::TlsRecord(Direction::ToBroker, 0), Moment::TlsRecord(Direction::ToBroker, 1)] {
            build_frozen(&environment, "listener.SSL", record, tls).await;
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_sasl_exchange_with_a_frozen_broker_ends_at_the_deadline() {
    crate::alone(|environment| async move {
        for api in [ApiKey::API_VERSIONS, ApiKey::SASL_HANDSHAKE, ApiKey::SASL_AUTHENTICATE] {
            for moment in [Moment::Request(api), Moment::EndOfRequest(api)] {
                build_frozen(&environment, "listener.SASL_PLAINTEXT", moment, scram).await;
            }
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_write_to_a_frozen_broker_ends_at_the_deadline_and_is_in_doubt() {
    crate::alone(|environment| async move {
        let frozen = Frozen::at(&environment, Moment::Request(ApiKey::PRODUCE), &[]).await;
        // The whole request waits in sockets, and is written when the broker goes on.
        let values = frozen.append("small".to_owned()).await;
        assert!(
            values.len() >= 2 && values[0] == "first" && values.contains(&"next".to_owned()),
            "{values:?}"
        );
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn a_write_that_fills_the_send_buffer_ends_at_the_deadline_and_is_not_written() {
    crate::alone(|environment| async move {
        let frozen = Frozen::at(&environment, Moment::Request(ApiKey::PRODUCE), &[]).await;
        // The connection ends in the middle of the request.
        assert_eq!(frozen.append("x".repeat(HUGE)).await, ["first", "next"]);
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn an_answer_that_a_frozen_broker_has_not_begun_is_given_up_at_the_deadline() {
    crate::alone(|environment| async move {
        // The broker has all of the request but one byte.
        let frozen = Frozen::at(&environment, Moment::EndOfRequest(ApiKey::PRODUCE), &[]).await;
        let values = frozen.append("second".to_owned()).await;
        assert!(
            values.len() >= 2 && values[0] == "first" && values.contains(&"next".to_owned()),
            "{values:?}"
        );
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn an_answer_that_a_frozen_broker_has_begun_is_given_up_at_the_deadline_and_the_record_is_there() {
    crate::alone(|environment| async move {
        let held = [Action::Freeze(Direction::ToClient)];
        let frozen = Frozen::at(&environment, Moment::Answer(ApiKey::PRODUCE), &held).await;
        assert_eq!(frozen.append("second".to_owned()).await[..2], ["first", "second"]);
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn every_other_call_to_a_frozen_broker_ends_at_the_deadline() {
    crate::alone(|environment| async move {
        let advertised = listener(&environment, "advertised.PROXY");
        let mut proxies = Vec::new();
        for (advertised, target) in advertised.iter().zip(listener(&environment, "listener.PROXY")) {
            proxies.push(Proxy::listen(advertised.parse().unwrap(), target).await.unwrap());
        }
        let topic = new_topic("frozen");
        let patient = Client::builder(advertised.clone()).build().await.unwrap();
        patient.create_topic(&topic, 1, 1).await.unwrap();
        served(&patient, &topic, 0).await.produce([record("first")]).await.unwrap();

        let client = Client::builder(advertised).api_timeout(DEADLINE).build().await.unwrap();
        let log = client.partition_client(&topic, 0).await.unwrap();
        let apis = ["Metadata", "ListOffsets", "Fetch", "CreateTopics", "DeleteTopics"];
        let keys = [
            ApiKey::METADATA,
            ApiKey::LIST_OFFSETS,
            ApiKey::FETCH,
            ApiKey::CREATE_TOPICS,
            ApiKey::DELETE_TOPICS,
        ];
        for (api, key) in apis.into_iter().zip(keys) {
            for moment in [Moment::Request(key), Moment::EndOfRequest(key)] {
                // Whichever is asked first, and those that are asked instead.
                let stop = |(index, proxy): (usize, &Proxy)| {
                    proxy.inject(moment, Action::Stop(process(&environment, index)));
                };
                proxies.iter().enumerate().for_each(stop);
                let error = match api {
                    "Metadata" => overdue(client.list_topics()).await,
                    "ListOffsets" => overdue(log.get_offset(OffsetAt::Latest)).await,
                    "Fetch" => overdue(log.fetch_records(0, 1..1_000_000, 10)).await,
                    "CreateTopics" => {
                        overdue(client.create_topic(new_topic("frozen"), 1, 1).into_future()).await
                    }
                    _ => overdue(client.delete_topic(&topic)).await,
                };
                assert!(error.to_string().starts_with(api), "{moment:?}: {error:?}");
                proxies.iter().for_each(Proxy::clear_faults);
                proxies.iter().for_each(Proxy::thaw);
                let next = async { while client.list_topics().await.is_err() {} };
                timeout(Duration::from_secs(20), next).await.unwrap();
            }
        }
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn an_exclusive_log_is_claimed_while_its_leader_stands_still() {
    crate::alone(|environment| async move {
        if let Some((brokers, why)) = crate::unclean::why_not(&environment) {
            let test = "frozen::an_exclusive_log_is_claimed_while_its_leader_stands_still";
            return common::skipped(brokers, test, why);
        }
        let client = environment.client("PLAINTEXT").build().await.unwrap();
        let topic = new_topic("claimed");
        client.create_topic(&topic, 1, 3).for_log().await.unwrap();
        let wal = client.wal(&topic, 0).await.unwrap();
        let (first, _) = exclusive::claim(&wal, Position::START, "first").await;
        first.append([record("kept")]).await.unwrap();
        let leader = client.describe_topic(&topic).await.unwrap().partitions[&0].leader.unwrap();
        let stands_still = process(&environment, leader as usize - 1).stop().await.unwrap();

        // Another process, which knows nothing of the settings. No risk is accepted.
        let other = environment.client("PLAINTEXT").build().await.unwrap();
        let wal = other.wal(&topic, 0).await.unwrap();
        let (second, read) = exclusive::claim(&wal, Position::START, "second").await;
        assert_eq!(read, ["kept"]);
        second.append([record("next")]).await.unwrap();
        drop(stands_still);
        let error = first.append([record("late")]).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Fenced { .. }), "{error:?}");
        client.delete_topic(&topic).await.unwrap();
    });
}
