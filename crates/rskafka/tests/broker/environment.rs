//! What `cargo xtask` tells of the environment it has started: the file of `key=value` lines in `KAFKA_ENVIRONMENT`
//! (see docs/environments.md).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rskafka::client::{Client, ClientBuilder, ClientCertificate, OauthToken, Sasl, Tls};
use time::OffsetDateTime;

use crate::common::Brokers;

pub struct Environment {
    facts: HashMap<String, String>,
}

impl Environment {
    /// The environment of this run.
    pub fn get() -> Self {
        let file = std::env::var_os("KAFKA_ENVIRONMENT").expect(
            "this test needs an environment of `cargo xtask`: `cargo xtask env up kafka` prints KAFKA_ENVIRONMENT",
        );
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let folder = Path::new(&file).parent().expect("a file is in a folder");
        let facts = text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| {
            let is_path = ["certificates", "console.consumer", "console.producer", "java"].contains(&key);
            // An absolute path stays as it is.
            let value = if is_path { folder.join(value).display().to_string() } else { value.to_owned() };
            (key.to_owned(), value)
        });
        Self { facts: facts.collect() }
    }

    /// One of its facts.
    pub fn fact(&self, key: &str) -> &str {
        self.facts.get(key).unwrap_or_else(|| panic!("the environment does not say {key:?}"))
    }

    /// A fact about each broker.
    pub fn list(&self, key: &str) -> Vec<String> {
        self.fact(key).split(',').map(str::to_owned).collect()
    }

    /// A client that knows where a listener is, and nothing of its security.
    pub fn client(&self, listener: &str) -> ClientBuilder {
        Client::builder(self.list(&format!("listener.{listener}")))
    }

    /// TLS that trusts the CA of the brokers.
    pub fn tls(&self) -> Tls {
        self.tls_trusting("ca")
    }

    /// TLS that trusts one of the environment's CAs.
    pub fn tls_trusting(&self, ca: &str) -> Tls {
        Tls::ca_file(self.certificate(&format!("{ca}.pem"))).unwrap()
    }

    /// TLS with one of the environment's client certificates.
    pub fn tls_as(&self, client: &str) -> Tls {
        let files = ["pem", "key"].map(|kind| self.certificate(&format!("{client}.{kind}")));
        let certificate = ClientCertificate::from_files(&files[0], &files[1]).unwrap();
        self.tls().client_certificate(certificate).unwrap()
    }

    /// The user and the password that the brokers know.
    pub fn login(&self) -> (&str, &str) {
        (self.fact("sasl.user"), self.fact("sasl.password"))
    }

    /// A file of the environment's certificates and keys.
    pub fn certificate(&self, file: &str) -> PathBuf {
        Path::new(self.fact("certificates")).join(file)
    }
}

/// A client that is known to the brokers by a mechanism.
pub fn sasl(mechanism: &str, (user, password): (&str, &str)) -> Sasl {
    match mechanism {
        "PLAIN" => Sasl::plain(user, password),
        "SCRAM-SHA-256" => Sasl::scram_sha_256(user, password),
        "SCRAM-SHA-512" => Sasl::scram_sha_512(user, password),
        "OAUTHBEARER" => oauth_bearer(user, 60),
        _ => panic!("no mechanism {mechanism}"),
    }
}

/// Tokens that expire so many seconds after now; nobody has signed them, and the environment's brokers do not mind.
pub fn oauth_bearer(user: &str, expires_in: i64) -> Sasl {
    let user = user.to_owned();
    Sasl::oauth_bearer(move || {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let expiry = now + expires_in;
        let claims = format!(r#"{{"sub":"{user}","iat":{},"exp":{expiry}}}"#, now - 3600);
        let [header, claims] = [r#"{"alg":"none"}"#, &claims]
            .map(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part));
        async move { Ok::<_, std::io::Error>(OauthToken::new(format!("{header}.{claims}."))) }
    })
}

/// Runs a test on the environment's brokers.
pub fn run<F: Future<Output = ()>>(test: fn(Environment, Brokers) -> F) {
    if crate::is_skipped() {
        return;
    }
    let environment = Environment::get();
    crate::block_on(test(environment, crate::brokers()));
}
