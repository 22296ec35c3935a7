//! Where clients reach a broker: a table, and what each row asks of `server.properties`.
//!
//! Invariant: every listener has all that it needs in its own properties (`listener.name.…`), so that none changes another.

use crate::env::certificates::{Certificates, Identity};

/// The listener that most tests connect to, and a security protocol; those below are protocols, too.
pub(crate) const PLAINTEXT: &str = "PLAINTEXT";
const SSL: &str = "SSL";
const SASL_PLAINTEXT: &str = "SASL_PLAINTEXT";
const SASL_SSL: &str = "SASL_SSL";
/// Replication has its own, so that a fault put between client and broker does not hit it.
pub(crate) const INTERNAL: &str = "INTERNAL";

/// The listeners of every broker, in the order of its ports.
pub(crate) const LISTENERS: &[Listener] = &[
    Listener::new(PLAINTEXT, PLAINTEXT),
    Listener::new(SSL, SSL),
    Listener { needs_client_certificate: true, ..Listener::new("MTLS", SSL) },
    Listener::new(SASL_PLAINTEXT, SASL_PLAINTEXT),
    Listener::new(SASL_SSL, SASL_SSL),
    Listener { ends_sessions: true, ..Listener::new("SASL_REAUTH", SASL_PLAINTEXT) },
    Listener { is_proxied: true, ..Listener::new("PROXY", PLAINTEXT) },
    Listener { is_proxied: true, mechanisms: &[SCRAM[1]], ..Listener::new("PROXY_SASL_SSL", SASL_SSL) },
    Listener { identity: |all| &all.server_with_wrong_name, ..Listener::new("SSL_BADNAME", SSL) },
    Listener { identity: |all| &all.expired_server, ..Listener::new("SSL_EXPIRED", SSL) },
    Listener::new(INTERNAL, PLAINTEXT),
];
/// KRaft's own, where the node is a controller.
pub(crate) const CONTROLLER: &Listener = &Listener::new("CONTROLLER", PLAINTEXT);

/// ZooKeeper's own.
pub(crate) const ZOOKEEPER: &Listener = &Listener::new("ZOOKEEPER", PLAINTEXT);

/// The one user of all listeners with SASL; a token of OAUTHBEARER may name anybody.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "alice-secret";
/// How long a session lasts on the listener that ends them.
pub(crate) const SESSION_MS: u32 = 5_000;
const PLAIN: &str = "PLAIN";
pub(crate) const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
const OAUTHBEARER: &str = "OAUTHBEARER";
pub(crate) const MECHANISMS: [&str; 4] = [PLAIN, SCRAM[0], SCRAM[1], OAUTHBEARER];

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: &'static str,
    /// The name of Kafka's security protocol.
    pub(crate) protocol: &'static str,
    /// Whether it is advertised under a free port, where a test puts a proxy.
    pub(crate) is_proxied: bool,
    needs_client_certificate: bool,
    /// The certificate that it shows.
    identity: fn(&Certificates) -> &Identity,
    mechanisms: &'static [&'static str],
    /// Whether clients have to authenticate again and again (KIP-368).
    ends_sessions: bool,
}

impl Listener {
    const fn new(name: &'static str, protocol: &'static str) -> Listener {
        Listener {
            name,
            protocol,
            is_proxied: false,
            needs_client_certificate: false,
            identity: |all| &all.server,
            mechanisms: &MECHANISMS,
            ends_sessions: false,
        }
    }

    /// What clients are told to connect to: with TLS a name, because a name is what certificates are made for.
    pub(crate) fn host(&self) -> &'static str {
        if self.has_tls() { "localhost" } else { "127.0.0.1" }
    }

    /// Its `listener.name.…` properties, as lines.
    pub(crate) fn properties(&self, certificates: &Certificates) -> String {
        let mut properties = Vec::new();
        if self.has_tls() {
            properties.extend(self.tls_properties(certificates));
        }
        if self.has_sasl() {
            properties.push(format!("sasl.enabled.mechanisms={}", self.mechanisms.join(",")));
            properties.extend(self.mechanisms.iter().map(|mechanism| self.sasl_properties(mechanism)));
        }
        let name = self.name.to_lowercase();
        let lines = properties.iter().flat_map(|properties| properties.lines());
        lines.map(|property| format!("listener.name.{name}.{property}\n")).collect()
    }

    fn has_tls(&self) -> bool {
        self.protocol.ends_with(SSL)
    }

    fn has_sasl(&self) -> bool {
        self.protocol.starts_with("SASL_")
    }

    /// PEM within the properties, because Kafka 2.8 takes keys from a file only if they are encrypted.
    fn tls_properties(&self, certificates: &Certificates) -> [String; 6] {
        let Identity { certificate, key } = (self.identity)(certificates);
        let client_auth = if self.needs_client_certificate { "required" } else { "none" };
        [
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.key={}", in_one_line(key)),
            format!("ssl.keystore.certificate.chain={}", in_one_line(certificate)),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.certificates={}", in_one_line(&certificates.ca)),
            format!("ssl.client.auth={client_auth}"),
        ]
    }

    /// One line, or two.
    fn sasl_properties(&self, mechanism: &str) -> String {
        let (module, options) = match mechanism {
            PLAIN => ("plain.PlainLoginModule", format!(" user_{USER}=\"{PASSWORD}\"")),
            OAUTHBEARER => {
                ("oauthbearer.OAuthBearerLoginModule", format!(" unsecuredLoginStringClaim_sub=\"{USER}\""))
            }
            _ => ("scram.ScramLoginModule", String::new()),
        };
        let (name, module) = (mechanism.to_lowercase(), format!("org.apache.kafka.common.security.{module}"));
        let ends = || format!("\n{name}.connections.max.reauth.ms={SESSION_MS}");
        let ends = self.ends_sessions.then(ends).unwrap_or_default();
        format!("{name}.sasl.jaas.config={module} required{options};{ends}")
    }
}

/// As a properties file takes a value of several lines.
fn in_one_line(pem: &str) -> String {
    pem.replace("\r\n", "\n").replace('\n', "\\n")
}
