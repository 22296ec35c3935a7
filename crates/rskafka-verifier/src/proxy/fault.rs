//! What the proxy does to a connection, and when.
//!
//! Invariant: a fault strikes a connection at most once, before the byte at its moment is passed on.

use std::fmt;
use std::str::FromStr;

use rskafka::protocol::ApiKey;

use super::process::BrokerProcess;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToBroker,
    /// From the broker.
    ToClient,
}

/// A place in the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The n-th byte of a direction, from 0 on.
    Byte(Direction, u64),
    /// The first byte of the n-th TLS record of a direction, from 0 on: 0 is the hello.
    TlsRecord(Direction, u64),
    /// The first byte of a request; seen only in plaintext.
    Request(ApiKey),
    /// The last byte of a request, so that the broker has all of it but that; seen only in plaintext.
    EndOfRequest(ApiKey),
    /// The first byte of the answer to a request; seen only in plaintext.
    Answer(ApiKey),
}

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// No more bytes are taken or passed on in a direction, until [`thaw`](super::Proxy::thaw).
    Freeze(Direction),
    /// Bytes trickle, in both directions, until [`thaw`](super::Proxy::thaw).
    Slow {
        /// At least 1.
        bytes_per_second: u64,
    },
    /// The connection ends on both sides, as if each had closed it.
    Cut,
    /// The connection is reset on both sides.
    Reset,
    /// The broker's process is stopped (SIGSTOP), and stands still before any further byte is passed on.
    /// It goes on (SIGCONT) at [`thaw`](super::Proxy::thaw), or when the proxy is dropped.
    Stop(BrokerProcess),
}

/// Something that goes wrong with connections: once, unless told otherwise.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is injected"]
pub struct Fault {
    pub(super) moment: Moment,
    pub(super) actions: Vec<Action>,
    pub(super) skip: u64,
    pub(super) times: Option<u64>,
}

impl Fault {
    /// `action` happens at `moment`, the first time it comes.
    pub fn at(moment: Moment, action: Action) -> Self {
        Self { moment, actions: vec![action], skip: 0, times: Some(1) }
    }

    /// Another action, after those that it has.
    pub fn and(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Not the first `moments`, but those after.
    pub fn skip(mut self, moments: u64) -> Self {
        self.skip = moments;
        self
    }

    /// On as many connections, instead of one.
    pub fn times(mut self, connections: u64) -> Self {
        self.times = Some(connections);
        self
    }

    /// On every connection, until it is taken back.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToBroker => "to-broker",
            Self::ToClient => "to-client",
        })
    }
}

impl FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "to-broker" => Ok(Self::ToBroker),
            "to-client" => Ok(Self::ToClient),
            _ => Err(format!("{text:?} is neither to-broker nor to-client")),
        }
    }
}

/// A fault as the command line has it: `ACTION@MOMENT`.
///
/// Actions: `freeze`, `freeze:DIRECTION`, `slow:BYTES_PER_SECOND`, `cut`, `reset`, `stop:PID`. Moments:
/// `byte:DIRECTION:N`, `tls:DIRECTION:N`, `request:KEY`, `end-of-request:KEY`, `answer:KEY` with the key of an
/// API, e.g. 0 for Produce.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (action, moment) =
            text.split_once('@').ok_or_else(|| format!("{text:?} is not ACTION@MOMENT"))?;
        let moment = parse_moment(moment)?;
        let action = match action.split_once(':').unwrap_or((action, "")) {
            ("freeze", "") => {
                let to_broker = Self::at(moment, Action::Freeze(Direction::ToBroker));
                return Ok(to_broker.and(Action::Freeze(Direction::ToClient)));
            }
            ("freeze", direction) => Action::Freeze(direction.parse()?),
            ("slow", rate) => match number(rate)? {
                0 => return Err("slow needs at least one byte per second".to_owned()),
                bytes_per_second => Action::Slow { bytes_per_second },
            },
            ("cut", "") => Action::Cut,
            ("reset", "") => Action::Reset,
            ("stop", pid) => {
                let pid = pid.parse().map_err(|_| format!("{pid:?} is no process id"))?;
                Action::Stop(BrokerProcess::with_pid(pid).map_err(|error| error.to_string())?)
            }
            _ => return Err(format!("{action:?} is none of freeze, slow:N, cut, reset, stop:PID")),
        };
        Ok(Self::at(moment, action))
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    let api = |key: &str| key.parse().map(ApiKey).map_err(|_| format!("{key:?} is no key of an API"));
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["byte", direction, n] => Ok(Moment::Byte(direction.parse()?, number(n)?)),
        ["tls", direction, n] => Ok(Moment::TlsRecord(direction.parse()?, number(n)?)),
        ["request", key] => Ok(Moment::Request(api(key)?)),
        ["end-of-request", key] => Ok(Moment::EndOfRequest(api(key)?)),
        ["answer", key] => Ok(Moment::Answer(api(key)?)),
        _ => Err(format!(
            "{text:?} is none of byte:DIRECTION:N, tls:DIRECTION:N, request:KEY, end-of-request:KEY, answer:KEY"
        )),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_the_command_line() {
        let fault: Fault = "reset@byte:to-client:17".parse().unwrap();
        assert_eq!(fault.moment, Moment::Byte(Direction::ToClient, 17));
        assert_eq!(fault.actions, [Action::Reset]);
        let fault: Fault = "freeze@answer:36".parse().unwrap();
        assert_eq!(fault.moment, Moment::Answer(ApiKey::SASL_AUTHENTICATE));
        assert_eq!(fault.actions, [Action::Freeze(Direction::ToBroker), Action::Freeze(Direction::ToClient)]);
        let fault: Fault = "slow:1@tls:to-broker:0".parse().unwrap();
        assert_eq!(fault.actions, [Action::Slow { bytes_per_second: 1 }]);
    }

    #[test]
    fn what_is_no_fault_says_what_would_be_one() {
        let error = |text: &str| text.parse::<Fault>().unwrap_err();
        assert!(error("reset").contains("ACTION@MOMENT"));
        assert!(error("melt@request:0").contains("none of freeze"));
        assert!(error("reset@request:Produce").contains("no key of an API"));
        assert!(error("reset@byte:sideways:1").contains("neither to-broker nor to-client"));
        assert!(error("slow:0@request:0").contains("at least one"));
        assert!(error("stop:0@request:0").contains("process 0"));
    }
}
