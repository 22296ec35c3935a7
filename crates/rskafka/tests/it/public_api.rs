//! What a program that uses the library meets first: names, constructors, and what it prints when they fail.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rskafka::bytes::Bytes;
use rskafka::client::error::ErrorKind;
use rskafka::client::{Client, ClientCertificate, Socks5, Tls};
use rskafka::protocol::ApiKey;
use rskafka::protocol::records::{BatchFull, BuildError, Compression, RecordBatchBuilder};
use rskafka::protocol::scram::{ClientFirst, Credentials, Mechanism};
use rskafka::record::{Headers, Record};
use rskafka_fake::Fault;

use super::common::record;
use super::kit::{TOPIC, fake, nobody, start};

#[tokio::test(start_paused = true)]
async fn no_debug_text_shows_records() {
    let (cluster, client, log) = start(1).await;
    // Large enough for its memory to be kept.
    let value = || "confidential".repeat(10_000);
    log.produce([record(value())]).await.unwrap();
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE));
    let fetch = log.fetch(0);
    let mut shown = format!("{client:?} {client:#?} {log:?} {fetch:?}");
    let (in_flight, queued) = (log.produce([record(value())]), log.produce([record(value())]));
    for _ in 0..3 {
        shown += &format!("{client:?} {log:?} {log:#?} {in_flight:?} {in_flight:#?} {queued:?} {fetch:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!shown.contains("confide"));
    for handle in [format!("{log:?}"), format!("{queued:?}")] {
        assert!(handle.contains("topic: \"wal\", partition: 0"), "{handle}");
    }
    in_flight.await.unwrap();
    queued.await.unwrap();
    let keeps_none = || format!("{client:?}").contains("Spare(0 bytes)");
    assert!(!keeps_none());
    client.close().await;
    assert!(keeps_none(), "a closed client keeps no memory");
}

/// Asserts that `main` prints prose when it ends with this error: its message with all causes.
#[track_caller]
fn is_prose<T>(result: Result<T, impl Error>, says: &str) {
    let Err(error) = result else { panic!("it succeeds") };
    let mut prose = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        prose = format!("{prose}: {cause}");
        source = cause.source();
    }
    assert!(prose.contains(says), "{prose}");
    assert_eq!(format!("{error:?}"), prose);
    assert_eq!(format!("{error:#?}"), prose);
}

#[tokio::test]
async fn errors_of_public_constructors_are_prose_when_main_prints_them() {
    let (_socket, refusing) = nobody();
    is_prose(Client::new_plain(["nowhere"]).await, "has no port: write host:port");
    is_prose(Client::new_plain(["kafka://host:1"]).await, "without a scheme or a path");
    let builder = Client::builder([&refusing]).api_timeout(Duration::from_millis(300));
    is_prose(builder.build().await, "refused");
    let cluster = fake().start().await.unwrap();
    let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
    is_prose(client.partition_client("missing", 0).await, "unknown topic");
    is_prose(client.create_topic("no/name", 1, 1).await, "INVALID_TOPIC_EXCEPTION");

    is_prose(Socks5::new("proxy"), "has no port");

    is_prose(Tls::ca_file("/no/such/ca.pem"), "the CA file /no/such/ca.pem cannot be read: No such file");
    is_prose(Tls::ca_pem("text"), "the CA given is not valid PEM");
    is_prose(Tls::webpki_roots().server_name("no name"), "neither a DNS name nor an address");
    is_prose(ClientCertificate::from_files("/no/such/a.pem", "/no/such/a.key"), "/no/such/a.pem");
    is_prose(ClientCertificate::from_pem("", ""), "is empty");

    is_prose(RecordBatchBuilder::new().build(), "a batch needs at least one record");
    is_prose(Err::<(), _>(BatchFull), "the record does not fit into the batch");
    is_prose(Err::<(), _>(BuildError::Level { compression: Compression::Gzip, level: 99 }), "no level 99");
    let credentials = Credentials::new("", "secret");
    is_prose(ClientFirst::new(Mechanism::Sha256, &credentials, "nonce"), "the user name is empty");
}

/// All files below the folder.
pub fn rust_files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { rust_files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn what_users_only_read_may_get_more_fields_and_variants() {
    // Users write records as literals, and an outcome is one of two for good.
    const CLOSED: [&str; 2] = ["pub struct Record<", "pub enum Outcome "];
    let mut checked = 0;
    let of_client =
        rust_files_below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../rskafka-client/src")));
    let others = ["rskafka-cluster/src/metadata.rs", "rskafka-transport/src/counters.rs"];
    let others = others.map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
    for file in of_client.into_iter().chain(others) {
        let source = std::fs::read_to_string(&file).unwrap();
        let named = |line: &str| {
            !file.ends_with("metadata.rs") || line.contains(" Topic ") || line.contains(" Partition ")
        };
        let lines: Vec<&str> = source.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_type = line.starts_with("pub struct ") || line.starts_with("pub enum ");
            let mut body = lines[index + 1..].iter().take_while(|line| !line.starts_with('}'));
            let is_open = line.ends_with('{')
                && (line.contains(" enum ") || body.any(|line| line.starts_with("    pub ")));
            if !is_type || !is_open || !named(line) || CLOSED.iter().any(|closed| line.starts_with(closed)) {
                continue;
            }
            let mut attributes = lines[..index].iter().rev().take_while(|line| line.starts_with("#["));
            assert!(attributes.any(|line| *line == "#[non_exhaustive]"), "{}: {line}", file.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[tokio::test]
async fn a_client_takes_any_list_of_addresses() {
    let cluster = fake().brokers(2).start().await.unwrap();
    let brokers = cluster.bootstrap_servers();
    let first = brokers[0].as_str();
    Client::new_plain(brokers.clone()).await.unwrap();
    Client::new_plain(&brokers).await.unwrap();
    Client::new_plain([first]).await.unwrap();
    Client::new_plain(Some(first)).await.unwrap();
    Client::new_plain(brokers.iter().map(String::as_str)).await.unwrap();
    // The first of them is nobody's, so that this works only if the second is seen.
    let (_socket, nobody) = nobody();
    Client::new_plain([format!("{nobody},{first}")]).await.unwrap();
    Client::new_plain([format!("{nobody}, {first} ")]).await.unwrap();
    // As with Kafka's own client, empty entries are passed over.
    Client::new_plain([format!(",{nobody},, {first} ,")]).await.unwrap();
    Client::new_plain([first, ""]).await.unwrap();
    // Such a future may move to another thread.
    tokio::spawn(Client::new_plain(brokers)).await.unwrap().unwrap();
    for none in ["", ",", " , ", "host:1,host"] {
        let error = Client::new_plain([none]).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{none:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_made_without_naming_its_parts() {
    let (_, _, log) = start(1).await;
    assert_eq!(log.topic(), TOPIC);
    let timestamp = super::common::now();
    let plain = Record::new("key", "value", timestamp);
    assert_eq!(plain, Record { key: "key", value: "value", headers: (), timestamp });
    log.produce([plain]).await.unwrap();
    log.produce([plain.with_headers(vec![("one", "1")])]).await.unwrap();
    log.produce([Record::new((), None::<Bytes>, timestamp)]).await.unwrap();

    let text = |text: &'static str| Some(Bytes::from(text));
    let headers: Headers = [(Bytes::from("one"), text("1"))].into_iter().collect();
    let read: Vec<_> = log.fetch(0).await.unwrap().into_records().map(|read| read.unwrap().record).collect();
    assert_eq!(read[0], Record::new(text("key"), text("value"), timestamp).with_headers(Headers::new()));
    assert_eq!(read[1], Record::new(text("key"), text("value"), timestamp).with_headers(headers));
    assert_eq!(read[2], Record::new(None, None, timestamp).with_headers(Headers::new()));
}
