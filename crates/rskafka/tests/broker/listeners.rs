//! The same test over every listener of a real broker, with every mechanism.

use crate::common::examples::Process;
use crate::common::socks5::Socks5Server;
use rskafka::client::{ClientBuilder, OffsetAt, Socks5};
use rskafka::record::{Headers, Record};
use rskafka_verifier::proxy::Proxy;

use crate::common::{new_topic, now, read_all, served};
use crate::environment::{Environment, run, sasl};

/// Enough that each broker leads one.
const PARTITIONS: i32 = 3;

macro_rules! over {
    ($($name:ident: $client:expr;)*) => {$(
        #[test]
        #[ignore = "needs an environment of `cargo xtask`"]
        fn $name() {
            run(|environment, _| async move {
                let client: fn(&Environment) -> ClientBuilder = $client;
                appended_records_are_read_back(client(&environment)).await;
            });
        }
    )*};
}

over! {
    plaintext: |e| e.client("PLAINTEXT");
    tls: |e| e.client("SSL").tls(e.tls());
    mutual_tls: |e| e.client("MTLS").tls(e.tls_as("client"));
    a_server_name_that_is_set: |e| e.client("SSL_BADNAME").tls(e.tls().server_name("kafka.invalid").unwrap());
    sasl_plaintext_plain: |e| e.client("SASL_PLAINTEXT").sasl(sasl("PLAIN", e.login()));
    sasl_plaintext_scram_sha_256: |e| e.client("SASL_PLAINTEXT").sasl(sasl("SCRAM-SHA-256", e.login()));
    sasl_plaintext_scram_sha_512: |e| e.client("SASL_PLAINTEXT").sasl(sasl("SCRAM-SHA-512", e.login()));
    sasl_plaintext_oauthbearer: |e| e.client("SASL_PLAINTEXT").sasl(sasl("OAUTHBEARER", e.login()));
    sasl_ssl_plain: |e| e.client("SASL_SSL").tls(e.tls()).sasl(sasl("PLAIN", e.login()));
    sasl_ssl_scram_sha_256: |e| e.client("SASL_SSL").tls(e.tls()).sasl(sasl("SCRAM-SHA-256", e.login()));
    sasl_ssl_scram_sha_512: |e| e.client("SASL_SSL").tls(e.tls()).sasl(sasl("SCRAM-SHA-512", e.login()));
    sasl_ssl_oauthbearer: |e| e.client("SASL_SSL").tls(e.tls()).sasl(sasl("OAUTHBEARER", e.login()));
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn the_example_of_tls_and_sasl() {
    run(|environment, _| async move {
        let ((user, password), broker) = (environment.login(), &environment.list("listener.SASL_SSL")[0]);
        let ca = environment.certificate("ca.pem");
        let arguments = [broker, user, ca.to_str().unwrap()];
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let told = [("KAFKA_PASSWORD", password), ("KAFKA_MECHANISM", mechanism)];
            let lines = Process::told("tls_sasl", &arguments, &told).end().await.succeeded();
            assert!(lines.iter().any(|line| line.ends_with("and read Some(b\"over TLS\")")), "{lines:?}");
        }
        let refused = Process::told("tls_sasl", &arguments, &[("KAFKA_PASSWORD", "wrong")]).end().await;
        refused.failed_saying(&["the broker refuses the credentials"]);
        let refused = Process::told("tls_sasl", &arguments[..2], &[("KAFKA_PASSWORD", password)]).end().await;
        refused.failed_saying(&["unknown CA"]);
    });
}

#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn socks5_without_password_in_front_of_plaintext_and_tls() {
    run(|environment, _| async move {
        let server = Socks5Server::builder().start().await.unwrap();
        let proxy = Socks5::new(&server.address().to_string()).unwrap();
        appended_records_are_read_back(environment.client("PLAINTEXT").socks5(proxy.clone())).await;
        appended_records_are_read_back(environment.client("SSL").tls(environment.tls()).socks5(proxy)).await;
    });
}

/// Over SOCKS5 to TLS and SASL: the names are resolved by the proxy, and checked in the brokers' certificates.
#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn socks5_with_password_in_front_of_sasl_ssl() {
    run(|environment, brokers| async move {
        let server = Socks5Server::builder().password("proxy-user", "proxy-secret").start().await.unwrap();
        let proxy = Socks5::new(&server.address().to_string()).unwrap().login("proxy-user", "proxy-secret");
        let client = environment.client("SASL_SSL").tls(environment.tls()).socks5(proxy);
        appended_records_are_read_back(client.sasl(sasl("SCRAM-SHA-256", environment.login()))).await;
        let mut asked = server.destinations();
        asked.sort();
        asked.dedup();
        let mut listeners = environment.list("listener.SASL_SSL");
        listeners.sort();
        assert_eq!(asked, listeners);
        assert!(listeners.iter().all(|listener| listener.starts_with("localhost:")), "{brokers:?}");
    });
}

/// Clients look for the brokers where the proxies are, and nowhere else.
#[test]
#[ignore = "needs an environment of `cargo xtask`"]
fn proxies_at_the_advertised_addresses() {
    run(|environment, _| async move {
        for (listener, client) in [
            ("PROXY", environment.client("PROXY")),
            (
                "PROXY_SASL_SSL",
                environment
                    .client("PROXY_SASL_SSL")
                    .tls(environment.tls())
                    .sasl(sasl("SCRAM-SHA-512", environment.login())),
            ),
        ] {
            let proxies = proxies(&environment, listener).await;
            appended_records_are_read_back(client).await;
            drop(proxies);
        }
    });
}

/// A proxy for each broker, where the listener is advertised.
async fn proxies(environment: &Environment, listener: &str) -> Vec<Proxy> {
    let advertised = environment.list(&format!("advertised.{listener}"));
    let mut proxies = Vec::new();
    for (advertised, target) in advertised.iter().zip(environment.list(&format!("listener.{listener}"))) {
        let address = tokio::net::lookup_host(advertised).await.unwrap().find(|address| address.is_ipv4());
        proxies.push(Proxy::listen(address.unwrap(), target).await.unwrap());
    }
    proxies
}

/// Through every broker: records of all sizes, the largest of more than one TLS record and more than one read.
async fn appended_records_are_read_back(client: ClientBuilder) {
    let client = client.build().await.unwrap();
    let topic = new_topic("listeners");
    client.create_topic(&topic, PARTITIONS, 1).await.unwrap();
    for partition in 0..PARTITIONS {
        let log = served(&client, &topic, partition).await;
        let mut written = Vec::new();
        for size in [0, 1, 100, 16 * 1024, 300_000] {
            let mut headers = Headers::new();
            headers.push("size", Some(size.to_string()));
            let value = (0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
            let record =
                Record { key: Some("key".into()), value: Some(value.into()), headers, timestamp: now() };
            let produced = log.produce([record.clone(), record.clone()]).await.unwrap();
            assert_eq!(produced.base_offset, written.len() as i64);
            written.extend([record.clone(), record]);
        }
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, written.len() as i64);
        let read: Vec<Record> = read_all(&log).await.into_iter().map(|read| read.record).collect();
        assert!(read == written, "{} records are read, {} were written", read.len(), written.len());
    }
    client.delete_topic(&topic).await.unwrap();
    client.close().await;
}
