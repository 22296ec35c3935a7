//! Appends a record over TLS with SASL, and reads it: `cargo run --example tls_sasl [-- HOST:PORT USER [CA_FILE]]`.
//!
//! The password is in the environment variable `KAFKA_PASSWORD`, the mechanism (`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`) in
//! `KAFKA_MECHANISM`. Without a file of trusted CAs (PEM), Mozilla's list is trusted.

use std::process::ExitCode;

use rskafka::client::{Client, OffsetAt, Sasl, Tls};
use rskafka::fake::{FakeCluster, FakeClusterExt, FakeSasl, FakeTls, SaslMechanism};
use rskafka::record::Record;
use time::OffsetDateTime;

mod support;

#[tokio::main]
async fn main() -> ExitCode {
    support::exit(run(&support::arguments()).await)
}

pub(crate) async fn run(arguments: &[String]) -> support::Result {
    let builder = match arguments {
        [] => {
            let tls = FakeTls::new()?;
            let sasl = FakeSasl::new([SaslMechanism::ScramSha512]).user("alice", "secret");
            let cluster = FakeCluster::builder().in_memory().tls(tls.clone()).sasl(sasl).start().await?;
            let builder = Client::builder(cluster.bootstrap_servers()).env(cluster.env());
            builder.tls(Tls::ca_pem(tls.ca_pem())?).sasl(Sasl::scram_sha_512("alice", "secret"))
        }
        [address, user, ca_file @ ..] if ca_file.len() < 2 => {
            let tls = ca_file.first().map_or_else(|| Ok(Tls::webpki_roots()), Tls::ca_file)?;
            let password =
                std::env::var("KAFKA_PASSWORD").map_err(|_| "put the password in KAFKA_PASSWORD")?;
            let mechanism = std::env::var("KAFKA_MECHANISM").unwrap_or_else(|_| "SCRAM-SHA-512".to_owned());
            let sasl = match mechanism.as_str() {
                "PLAIN" => Sasl::plain(user, password),
                "SCRAM-SHA-256" => Sasl::scram_sha_256(user, password),
                "SCRAM-SHA-512" => Sasl::scram_sha_512(user, password),
                other => return Err(format!("KAFKA_MECHANISM={other} is not one of the three").into()),
            };
            Client::builder([address]).tls(tls).sasl(sasl)
        }
        _ => return Err("usage: tls_sasl [HOST:PORT USER [CA_FILE]]".into()),
    };
    let client = support::build(builder).await?;

    client.create_topic("tls-sasl", 1, 1).if_missing().await?;
    let log = client.partition_client("tls-sasl", 0).await?;
    let record = Record::new((), "over TLS", OffsetDateTime::now_utc());
    let appended = log.produce([record]).await?;
    let end = log.get_offset(OffsetAt::Latest).await?.offset;
    let read = log.fetch(appended.base_offset).await?.into_records().next().ok_or("nothing came back")??;
    println!("appended at {} of {end}, and read {:?}", appended.base_offset, read.record.value);
    Ok(())
}
