//! A small SOCKS5 server, as the proxy in front of brokers that tests need.
//!
//! Invariant: it resolves names itself, and remembers where clients wanted to go; so a test can tell who
//! resolved a name.

mod negotiation;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::negotiation::{Credentials, Negotiation, Step, reply};
pub use self::negotiation::{Destination, REFUSALS, ReplyCode, Stage};

/// How many destinations are remembered, the first ones.
const REMEMBERED: usize = 10_000;

/// After a connection that could not be accepted: what is lacking may be back then.
const PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Socks5Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// Settings of a server to be started: see [`Socks5Server::builder`].
#[derive(Debug, Default, Clone)]
#[must_use = "nothing listens until `start`"]
pub struct Socks5ServerBuilder {
    credentials: Option<Credentials>,
    refusal: Option<ReplyCode>,
    stalls_at: Option<Stage>,
    names: BTreeMap<String, SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    settings: Socks5ServerBuilder,
    destinations: Mutex<Vec<Destination>>,
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

    /// Where clients wanted to go, in the order in which they asked, those that were refused among them.
    pub fn destinations(&self) -> Vec<Destination> {
        self.shared.destinations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Socks5ServerBuilder {
    /// Asks for this user and password, and takes nobody without them.
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Answers every request with this code, and goes nowhere.
    pub fn refuse(mut self, code: ReplyCode) -> Self {
        self.refusal = Some(code);
        self
    }

    /// Never answers what a client says at this stage.
    pub fn stall_at(mut self, stage: Stage) -> Self {
        self.stalls_at = Some(stage);
        self
    }

    /// Takes `name` for `address`, with any port. Other names are the operating system's to resolve.
    pub fn name(mut self, name: impl Into<String>, address: SocketAddr) -> Self {
        self.names.insert(name.into(), address);
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
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, shared.clone())));
        Ok(Socks5Server { address, shared, _task: task })
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let shared = shared.clone();
                    connections.spawn(async move { shared.serve(client).await });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut negotiation = Negotiation::new(self.settings.credentials.clone());
        let mut input = BytesMut::new();
        let destination = loop {
            let stage = negotiation.stage();
            let step = negotiation.next(&mut input).map_err(|_| io::ErrorKind::InvalidData)?;
            let Some(step) = step else {
                match client.read_buf(&mut input).await? {
                    0 => return Ok(()),
                    _ => continue,
                }
            };
            if self.settings.stalls_at == Some(stage) {
                std::future::pending::<()>().await;
            }
            match step {
                Step::Say(bytes) => client.write_all(&bytes).await?,
                Step::Refuse(bytes) => return client.write_all(&bytes).await,
                Step::Connect(destination) => break destination,
            }
        };
        self.remember(&destination);
        let connected = match self.settings.refusal {
            Some(code) => Err(code),
            None => self.connect(&destination).await,
        };
        let mut broker = match connected {
            Ok(broker) => broker,
            Err(code) => return client.write_all(&reply(code)).await,
        };
        broker.set_nodelay(true)?;
        client.write_all(&reply(ReplyCode::Succeeded)).await?;
        broker.write_all(&input).await?;
        tokio::io::copy_bidirectional(&mut client, &mut broker).await.map(|_| ())
    }

    async fn connect(&self, destination: &Destination) -> Result<TcpStream, ReplyCode> {
        let connected = match destination {
            Destination::Address(address) => TcpStream::connect(address).await,
            Destination::Name(name, port) => match self.settings.names.get(name) {
                Some(address) => TcpStream::connect(address).await,
                None => TcpStream::connect((name.as_str(), *port)).await,
            },
        };
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => ReplyCode::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable => ReplyCode::NetworkUnreachable,
            _ => ReplyCode::HostUnreachable,
        })
    }

    fn remember(&self, destination: &Destination) {
        let mut destinations = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if destinations.len() < REMEMBERED {
            destinations.push(destination.clone());
        }
    }
}
