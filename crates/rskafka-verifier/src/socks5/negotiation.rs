//! The server's side of SOCKS5 (RFC 1928) with user and password (RFC 1929).
//!
//! Invariant: pure; bytes in, replies and at last a destination out. What is no SOCKS5 is an error.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What the server says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReplyCode {
    /// Connected.
    Succeeded = 0,
    /// Something else went wrong.
    GeneralFailure = 1,
    /// The rules do not allow it.
    NotAllowed = 2,
    /// The network cannot be reached.
    NetworkUnreachable = 3,
    /// The host cannot be reached, or its name is not known.
    HostUnreachable = 4,
    /// The port refuses connections.
    ConnectionRefused = 5,
    /// It took too many hops.
    TtlExpired = 6,
    /// The request was no CONNECT.
    CommandNotSupported = 7,
    /// The address was of an unknown kind.
    AddressTypeNotSupported = 8,
}

/// Every code but [`ReplyCode::Succeeded`].
pub const REFUSALS: [ReplyCode; 8] = [
    ReplyCode::GeneralFailure,
    ReplyCode::NotAllowed,
    ReplyCode::NetworkUnreachable,
    ReplyCode::HostUnreachable,
    ReplyCode::ConnectionRefused,
    ReplyCode::TtlExpired,
    ReplyCode::CommandNotSupported,
    ReplyCode::AddressTypeNotSupported,
];

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A name, to be resolved by the proxy, and a port.
    Name(String, u16),
    /// An address, which the client has resolved.
    Address(SocketAddr),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// How far a negotiation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The client offers methods of authentication.
    Greeting,
    /// The client sends user and password.
    Authentication,
    /// The client says where it wants to go.
    Request,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To be said; then it goes on.
    Say(Vec<u8>),
    /// To be said as the last thing.
    Refuse(Vec<u8>),
    /// To be answered with [`reply`].
    Connect(Destination),
}

/// Bytes that are not SOCKS5.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// User and password.
pub(super) type Credentials = (String, String);

pub(super) struct Negotiation {
    credentials: Option<Credentials>,
    stage: Stage,
}

impl Negotiation {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, stage: Stage::Greeting }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes one message out of `input`; `None` if it has to be longer for that.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Step>, Malformed> {
        let mut rest = &input[..];
        let step = match self.stage {
            Stage::Greeting => self.greeting(&mut rest)?,
            Stage::Authentication => self.authentication(&mut rest)?,
            Stage::Request => request(&mut rest)?,
        };
        let used = input.len() - rest.len();
        if step.is_some() {
            input.advance(used);
        }
        Ok(step)
    }

    fn greeting(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Malformed> {
        expect(input, VERSION)?;
        let Some(methods) = counted(input) else {
            return Ok(None);
        };
        let (wanted, next) = match self.credentials {
            Some(_) => (PASSWORD, Stage::Authentication),
            None => (NO_AUTHENTICATION, Stage::Request),
        };
        if !methods.contains(&wanted) {
            return Ok(Some(Step::Refuse(vec![VERSION, NO_METHOD])));
        }
        self.stage = next;
        Ok(Some(Step::Say(vec![VERSION, wanted])))
    }

    fn authentication(&mut self, input: &mut &[u8]) -> Result<Option<Step>, Malformed> {
        expect(input, PASSWORD_VERSION)?;
        let (Some(user), Some(password)) = (counted(input), counted(input)) else {
            return Ok(None);
        };
        let is_right = self
            .credentials
            .as_ref()
            .is_some_and(|(name, secret)| (user, password) == (name.as_bytes(), secret.as_bytes()));
        if !is_right {
            return Ok(Some(Step::Refuse(vec![PASSWORD_VERSION, 1])));
        }
        self.stage = Stage::Request;
        Ok(Some(Step::Say(vec![PASSWORD_VERSION, 0])))
    }
}

fn request(input: &mut &[u8]) -> Result<Option<Step>, Malformed> {
    expect(input, VERSION)?;
    let Some([command, _, kind]) = chunk(input) else {
        return Ok(None);
    };
    let refuse = |code| Ok(Some(Step::Refuse(reply(code))));
    if command != CONNECT {
        return refuse(ReplyCode::CommandNotSupported);
    }
    let destination = match kind {
        IPV4 => chunk::<4>(input)
            .zip(chunk(input))
            .map(|(ip, port)| Destination::Address((Ipv4Addr::from(ip), u16::from_be_bytes(port)).into())),
        IPV6 => chunk::<16>(input)
            .zip(chunk(input))
            .map(|(ip, port)| Destination::Address((Ipv6Addr::from(ip), u16::from_be_bytes(port)).into())),
        NAME => counted(input).zip(chunk(input)).map(|(name, port)| {
            Destination::Name(String::from_utf8_lossy(name).into_owned(), u16::from_be_bytes(port))
        }),
        _ => return refuse(ReplyCode::AddressTypeNotSupported),
    };
    Ok(destination.map(Step::Connect))
}

/// The reply to a request. Clients have no use for the address in it.
pub(super) fn reply(code: ReplyCode) -> Vec<u8> {
    vec![VERSION, code as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

fn expect(input: &mut &[u8], version: u8) -> Result<(), Malformed> {
    match chunk(input) {
        Some([first]) if first != version => Err(Malformed),
        _ => Ok(()),
    }
}

fn chunk<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*chunk)
}

/// Bytes with their number before them.
fn counted<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = chunk(input)?;
    let (bytes, rest) = input.split_at_checked(usize::from(length))?;
    *input = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Option<Credentials> {
        Some(("alice".to_owned(), "s3cret".to_owned()))
    }

    /// The steps of a client that says all at once; fed byte by byte.
    fn steps(credentials: Option<Credentials>, said: &[u8]) -> Result<Vec<Step>, Malformed> {
        let mut negotiation = Negotiation::new(credentials);
        let mut input = BytesMut::new();
        let mut steps = Vec::new();
        for byte in said {
            input.extend_from_slice(&[*byte]);
            steps.extend(negotiation.next(&mut input)?);
        }
        assert!(input.is_empty());
        Ok(steps)
    }

    #[test]
    fn without_a_password_the_destination_follows_the_greeting() {
        let said = [&[5, 2, 0, 2][..], &[5, 1, 0, 3, 4], b"host", &[0x23, 0x84]].concat();
        let connect = Step::Connect(Destination::Name("host".to_owned(), 9092));
        assert_eq!(steps(None, &said).unwrap(), [Step::Say(vec![5, 0]), connect]);
    }

    #[test]
    fn the_right_password_is_taken_and_a_wrong_one_refused() {
        let said = |password: &[u8]| [&[5, 1, 2, 1, 5][..], b"alice", &[6], password].concat();
        let right = [Step::Say(vec![5, 2]), Step::Say(vec![1, 0])];
        assert_eq!(steps(secret(), &said(b"s3cret")).unwrap(), right);
        let wrong = [Step::Say(vec![5, 2]), Step::Refuse(vec![1, 1])];
        assert_eq!(steps(secret(), &said(b"S3cret")).unwrap(), wrong);
    }

    #[test]
    fn a_client_without_a_password_is_refused_where_one_is_needed() {
        assert_eq!(steps(secret(), &[5, 1, 0]).unwrap(), [Step::Refuse(vec![5, 0xff])]);
    }

    #[test]
    fn addresses_of_both_kinds_are_understood() {
        let ipv4 = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80];
        let to = |address: &str| Step::Connect(Destination::Address(address.parse().unwrap()));
        assert_eq!(steps(None, &ipv4).unwrap()[1], to("127.0.0.1:80"));
        let mut ipv6 = vec![5, 1, 0, 5, 1, 0, 4];
        ipv6.extend(Ipv6Addr::LOCALHOST.octets());
        ipv6.extend([0, 80]);
        assert_eq!(steps(None, &ipv6).unwrap()[1], to("[::1]:80"));
    }

    #[test]
    fn what_cannot_be_served_is_refused_and_what_is_no_socks5_an_error() {
        let bind = [5, 1, 0, 5, 2, 0, 1];
        assert_eq!(steps(None, &bind).unwrap()[1], Step::Refuse(reply(ReplyCode::CommandNotSupported)));
        let kind = [5, 1, 0, 5, 1, 0, 9];
        assert_eq!(steps(None, &kind).unwrap()[1], Step::Refuse(reply(ReplyCode::AddressTypeNotSupported)));
        assert_eq!(steps(None, &[4, 1]), Err(Malformed));
    }
}
