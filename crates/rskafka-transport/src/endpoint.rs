//! A broker's address.
//!
//! Invariant: what [`Endpoint`] displays parses to the same endpoint.

use std::str::FromStr;

use snafu::{OptionExt, Snafu, ensure};

/// A broker's host and port.
///
/// The host is a name or an address without brackets; a name may end with a dot, which makes it absolute.
///
/// ```
/// # use rskafka_transport::Endpoint;
/// let endpoint: Endpoint = "[::1]:9092".parse().unwrap();
/// assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 9092));
/// assert_eq!(endpoint.to_string(), "[::1]:9092");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("{}:{port}", if host.contains(':') { format!("[{host}]") } else { host.clone() })]
pub struct Endpoint {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint of `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let wrong = |problem| ParseEndpointSnafu { text, problem };
        let no_port = wrong("has no port: write host:port");
        let (host, port) = text.rsplit_once(':').context(no_port)?;
        let host = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').context(no_port)?,
            None => host,
        };
        ensure!(!host.is_empty(), wrong("has no host: write host:port"));
        let is_foreign = |c: char| c.is_whitespace() || matches!(c, '/' | '[' | ']' | '@');
        let no_address = "is not a broker's address: write host:port, without a scheme or a path";
        ensure!(!host.contains(is_foreign), wrong(no_address));
        let is_bare = host.contains(':') && !text.starts_with('[');
        ensure!(!is_bare, wrong("is ambiguous: write an IPv6 address as [address]:port"));
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.context(wrong("has a port that is not a number from 1 to 65535"))?;
        Ok(Self::new(host, port))
    }
}

/// A text that is not a broker's address. The message says what is wrong with it.
#[derive(Clone, PartialEq, Eq, Snafu, derive_more::Debug)]
#[snafu(display("{text:?} {problem}"))]
#[debug("{self}")]
pub struct ParseEndpointError {
    text: String,
    problem: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_addresses_and_trailing_dots_are_understood() {
        for (text, host, port) in [
            ("localhost:9092", "localhost", 9092),
            ("kafka.example.com.:65535", "kafka.example.com.", 65535),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:9092", "::1", 9092),
            ("[fe80::1%eth0]:9092", "fe80::1%eth0", 9092),
        ] {
            assert_eq!(text.parse(), Ok(Endpoint::new(host, port)), "{text}");
            assert_eq!(Endpoint::new(host, port).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_gets_an_error_that_says_what_to_write() {
        for (text, said) in [
            ("localhost", "no port"),
            ("[::1]", "no port"),
            (":9092", "no host"),
            ("[]:9092", "no host"),
            ("a:0", "not a number from 1 to 65535"),
            ("a:65536", "not a number from 1 to 65535"),
            ("a:b", "not a number from 1 to 65535"),
            ("::1:9092", "as [address]:port"),
            ("kafka://a:9092", "without a scheme or a path"),
            ("a/b:9092", "without a scheme or a path"),
            ("a b:9092", "without a scheme or a path"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_an_endpoint_or_an_error(text in ".{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
