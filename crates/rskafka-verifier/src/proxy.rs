//! A proxy for TCP that does to a connection what networks and brokers do: freeze, cut, reset.
//!
//! It listens on a port of its own and passes bytes on to one target, unchanged; the target speaks Kafka
//! or TLS, because up to 11 bytes are held back until it is known what they begin. [`Fault`]s say what
//! happens and when: at a byte, at a TLS record, or where a request or an answer begins. What happens is
//! decided by plain structs; the tasks here only move bytes.
//!
//! ```no_run
//! use rskafka::protocol::ApiKey;
//! use rskafka_verifier::proxy::{Action, Direction, Fault, Moment, Proxy};
//!
//! # async fn example() -> std::io::Result<()> {
//! let proxy = Proxy::start("127.0.0.1:9092").await?;
//! let answer = Moment::Answer(ApiKey::PRODUCE);
//! let frozen = proxy.inject(Fault::at(answer, Action::Freeze(Direction::ToClient)));
//! // A client that connects to `proxy.address()` gets no answer to its first append.
//! assert_eq!(proxy.struck(frozen), 0);
//! # Ok(())
//! # }
//! ```

mod control;
mod fault;
mod process;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub use self::control::FaultId;
use self::control::{ConnectionId, Control, Gate, Look};
pub use self::fault::{Action, Direction, Fault, Moment};
pub use self::process::BrokerProcess;
use self::process::Stopped;

const BUFFER: usize = 64 * 1024;
/// After a connection that could not be accepted, so that a lack of file descriptors does not keep a core busy.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the sides of a connection that was cut have to close it too.
const LINGER: Duration = Duration::from_secs(1);

/// A running proxy. Dropping it ends it and its connections, and lets stopped processes go on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    /// Tells tasks that wait when a gate or a count may have changed.
    control: watch::Sender<Control>,
    stopped: Mutex<Vec<Stopped>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `target`, `host:port`.
    ///
    /// # Errors
    ///
    /// The port cannot be bound. Whether the target can be reached is seen by each connection.
    pub async fn start(target: impl Into<String>) -> io::Result<Self> {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), target).await
    }

    /// Listens on `address`, e.g. the one that a broker advertises for its proxy.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn listen(address: SocketAddr, target: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: target.into(),
            control: watch::Sender::default(),
            stopped: Mutex::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(accept(listener, serving));
        Ok(Self { address, shared, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has something go wrong: see [`Fault`]. Moments that are over do not count.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.shared.with(|control| control.inject(fault))
    }

    /// How often a fault has struck, 0 or 1; 0 after it was taken back.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.shared.control.borrow().struck(fault)
    }

    /// Waits until a fault has struck a connection.
    pub async fn has_struck(&self, fault: FaultId) {
        // The sender lives as long as this does.
        let _ = self.shared.control.subscribe().wait_for(|control| control.struck(fault) > 0).await;
    }

    /// Takes all faults back; what they have done stays.
    pub fn clear_faults(&self) {
        self.shared.with(Control::clear);
    }

    /// Lets frozen connections and stopped processes go on.
    pub fn thaw(&self) {
        self.shared.stopped().clear();
        self.shared.control.send_modify(Control::thaw);
    }

    /// The number of connections open.
    pub fn open_connections(&self) -> usize {
        self.shared.control.borrow().open_connections()
    }
}

impl Shared {
    /// Changes what no task waits for.
    fn with<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let mut result = None;
        self.control.send_if_modified(|control| {
            result = Some(change(control));
            false
        });
        result.expect("the closure runs once")
    }

    fn stopped(&self) -> MutexGuard<'_, Vec<Stopped>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves each connection in a task; they all end with this future.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(serve(client, shared.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes on until both sides have ended, or a fault ends them.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let Ok(mut broker) = TcpStream::connect(&shared.target).await else {
        // What a client of a dead broker sees.
        let _ = client.set_zero_linger();
        return;
    };
    let id = shared.with(Control::connected);
    let connection = Listed { id, shared: &shared };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let to_broker = connection.pump(Direction::ToBroker, from_client, to_broker);
        let to_client = connection.pump(Direction::ToClient, from_broker, to_client);
        // One side may end long before the other; an error ends both.
        let both = async { tokio::try_join!(to_broker, to_client) };
        let (both, ended) = (pin!(both), pin!(connection.gate_is(|gate| gate.end.is_some())));
        tokio::select! {
            biased;
            _ = ended => {}
            _ = both => {}
        }
    }
    match connection.gate_is(|_| true).await.end {
        Some(Action::Reset) => {
            let _ = (client.set_zero_linger(), broker.set_zero_linger());
        }
        Some(Action::Cut) => {
            // Closing a socket that has bytes to read would reset it.
            let both = async { tokio::join!(hang_up(&mut client), hang_up(&mut broker)) };
            let _ = tokio::time::timeout(LINGER, both).await;
        }
        _ => {}
    }
}

async fn hang_up(stream: &mut TcpStream) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await
}

/// A connection that is known to the control while this lives.
struct Listed<'a> {
    id: ConnectionId,
    shared: &'a Shared,
}

impl Listed<'_> {
    /// Waits until the connection's gate is as wanted.
    async fn gate_is(&self, is_wanted: impl Fn(Gate) -> bool) -> Gate {
        let mut control = self.shared.control.subscribe();
        let _ = control.wait_for(|control| is_wanted(control.gate(self.id))).await;
        self.shared.control.borrow().gate(self.id)
    }

    async fn pump(
        &self,
        direction: Direction,
        mut read: ReadHalf<'_>,
        mut write: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut waiting = BytesMut::with_capacity(BUFFER);
        loop {
            self.gate_is(|gate| !gate.is_shut(direction)).await;
            let look = |control: &mut Control| control.look(self.id, direction, &waiting);
            let Look { pass, actions } = self.shared.with(look);
            if pass == 0 && actions.is_empty() {
                waiting.reserve(BUFFER);
                if read.read_buf(&mut waiting).await? == 0 {
                    write.write_all(&waiting).await?;
                    return write.shutdown().await;
                }
                continue;
            }
            write.write_all(&waiting[..pass]).await?;
            waiting.advance(pass);
            for action in actions {
                if let Action::Stop(process) = action {
                    let stopped = process.stop().await?;
                    self.shared.stopped().push(stopped);
                }
                self.shared.control.send_modify(|control| control.happened(self.id, action));
            }
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.shared.with(|control| control.disconnected(self.id));
    }
}
