//! A small SOCKS5 server (RFC 1928, RFC 1929), as the proxy in front of brokers that tests need.
//!
//! Invariant: it resolves names itself, and remembers where clients wanted to go; so a test can tell who
//! resolved a name.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// How many destinations are remembered, the first ones.
const REMEMBERED: usize = 10_000;

/// What the server says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReplyCode {
    /// Connected.
    Succeeded = 0,
    /// The rules do not allow it.
    NotAllowed = 2,
    /// The host cannot be reached, or its name is not known.
    HostUnreachable = 4,
    /// The port refuses connections.
    ConnectionRefused = 5,
}

/// A running server. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Socks5Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Settings of a server to be started: see [`Socks5Server::builder`].
#[derive(Debug, Default, Clone)]
#[must_use = "nothing listens until `start`"]
pub struct Socks5ServerBuilder {
    login: Option<(String, String)>,
    refusal: Option<ReplyCode>,
}

#[derive(Debug)]
struct Shared {
    settings: Socks5ServerBuilder,
    destinations: Mutex<Vec<String>>,
}

impl Socks5Server {
    /// Settings for a new server: by default it asks for no password and goes wherever it is asked to.
    pub fn builder() -> Socks5ServerBuilder {
        Socks5ServerBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients wanted to go, `host:port` in the order in which they asked, those that were refused among
    /// them. The host is a name only if the client has left it to the server to resolve it.
    pub fn destinations(&self) -> Vec<String> {
        self.shared.destinations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Socks5Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socks5ServerBuilder {
    /// Asks for this user and password, and takes nobody without them.
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// Answers every request with this code, and goes nowhere.
    pub fn refuse(mut self, code: ReplyCode) -> Self {
        self.refusal = Some(code);
        self
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The port cannot be bound.
    pub async fn start(self) -> io::Result<Socks5Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { settings: self, destinations: Mutex::default() });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            // They end with the server.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = serving.clone();
                // A connection that fails is the client's to report.
                connections.spawn(async move { shared.serve(client).await });
            }
        });
        Ok(Socks5Server { address, shared, task })
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        if !self.lets_in(&mut client).await? {
            return Ok(());
        }
        let destination = destination(&mut client).await?;
        self.remember(&destination);
        let connected = match self.settings.refusal {
            Some(code) => Err(code),
            None => TcpStream::connect(destination).await.map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => ReplyCode::ConnectionRefused,
                _ => ReplyCode::HostUnreachable,
            }),
        };
        let code = connected.as_ref().err().copied().unwrap_or(ReplyCode::Succeeded);
        // Clients have no use for the address in it.
        client.write_all(&[VERSION, code as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]).await?;
        if let Ok(mut broker) = connected {
            broker.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
        }
        Ok(())
    }

    /// Agrees on a method of authentication and checks the login.
    async fn lets_in(&self, client: &mut TcpStream) -> io::Result<bool> {
        expect(client, VERSION).await?;
        let offered = counted(client).await?;
        let method = if self.settings.login.is_some() { PASSWORD } else { NO_AUTHENTICATION };
        if !offered.contains(&method) {
            client.write_all(&[VERSION, NO_METHOD]).await?;
            return Ok(false);
        }
        client.write_all(&[VERSION, method]).await?;
        let Some((user, password)) = &self.settings.login else {
            return Ok(true);
        };
        expect(client, PASSWORD_VERSION).await?;
        let given = (counted(client).await?, counted(client).await?);
        let is_right = (given.0.as_slice(), given.1.as_slice()) == (user.as_bytes(), password.as_bytes());
        client.write_all(&[PASSWORD_VERSION, u8::from(!is_right)]).await?;
        Ok(is_right)
    }

    fn remember(&self, destination: &str) {
        let mut destinations = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if destinations.len() < REMEMBERED {
            destinations.push(destination.to_owned());
        }
    }
}

/// Reads a request to connect; gives `host:port`.
async fn destination(client: &mut TcpStream) -> io::Result<String> {
    expect(client, VERSION).await?;
    expect(client, CONNECT).await?;
    let _reserved = client.read_u8().await?;
    let host = match client.read_u8().await? {
        IPV4 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        IPV6 => format!("[{}]", Ipv6Addr::from(client.read_u128().await?)),
        NAME => String::from_utf8_lossy(&counted(client).await?).into_owned(),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(format!("{host}:{}", client.read_u16().await?))
}

async fn expect(client: &mut TcpStream, byte: u8) -> io::Result<()> {
    match client.read_u8().await? == byte {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Bytes with their number before them.
async fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
