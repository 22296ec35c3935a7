//! A TCP proxy that freezes, cuts or resets connections, or stops the broker behind it.
//!
//! It listens on a port of its own and passes bytes on to one target, unchanged; the target speaks Kafka or TLS, because
//! up to 11 bytes are held back until it is known what they begin. [`Proxy::inject`] says what happens and when: at a TLS
//! record, or where a request or an answer begins or ends. The module `stream` decides what the bytes are.
//!
//! ```no_run
//! use rskafka::protocol::ApiKey;
//! use rskafka_verifier::proxy::{Action, Direction, Moment, Proxy};
//!
//! # async fn example() -> std::io::Result<()> {
//! let proxy = Proxy::start("127.0.0.1:9092").await?;
//! let answer = Moment::Answer(ApiKey::PRODUCE);
//! let frozen = proxy.inject(answer, Action::Freeze(Direction::ToClient));
//! // A client that connects to `proxy.address()` gets no answer to its first append.
//! assert_eq!(proxy.struck(frozen), 0);
//! # Ok(())
//! # }
//! ```

mod fault;
mod process;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::fault::Faults;
pub use self::fault::{Action, Direction, FaultId, Moment};
pub use self::process::BrokerProcess;
use self::process::Stopped;
use self::stream::Streams;

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
    state: Mutex<State>,
    /// How often what was frozen was let go on.
    thaws: watch::Sender<u64>,
    /// Each connection has one more reference.
    open: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    stopped: Vec<Stopped>,
    delay: Duration,
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
        let (state, thaws, open) = Default::default();
        let shared = Arc::new(Shared { target: target.into(), state, thaws, open });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has something go wrong with one connection: the first that comes to the moment from now on.
    pub fn inject(&self, moment: Moment, action: Action) -> FaultId {
        lock(&self.shared.state).faults.inject(moment, action)
    }

    /// How often a fault of this proxy has struck, 0 or 1; 0 after it was taken back.
    pub fn struck(&self, fault: FaultId) -> u64 {
        u64::from(lock(&self.shared.state).faults.has_struck(fault))
    }

    /// Takes all faults back; what they have done stays.
    pub fn clear_faults(&self) {
        lock(&self.shared.state).faults.clear();
    }

    /// Lets frozen connections and stopped processes go on.
    pub fn thaw(&self) {
        lock(&self.shared.state).stopped.clear();
        self.shared.thaws.send_modify(|thaws| *thaws += 1);
    }

    /// From now on each piece of bytes is passed on this late, on all connections.
    pub fn delay(&self, delay: Duration) {
        lock(&self.shared.state).delay = delay;
    }

    /// The number of connections open.
    pub fn open_connections(&self) -> usize {
        Arc::strong_count(&self.shared.open) - 1
    }
}

/// Serves each connection in a task; they all end with this future.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(serve(client, shared.clone(), shared.open.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes on until both sides have ended, or a fault ends them. `_open` counts the connection.
async fn serve(mut client: TcpStream, shared: Arc<Shared>, _open: Arc<()>) {
    let Ok(mut broker) = TcpStream::connect(&shared.target).await else {
        // What a client of a dead broker sees.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let connection = Connection { shared: &shared, streams: Mutex::default(), gate: Mutex::default() };
    {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let to_broker = connection.pump(Direction::ToBroker, from_client, to_broker);
        let to_client = connection.pump(Direction::ToClient, from_broker, to_client);
        // One side may end long before the other; an error ends both.
        let _ = tokio::try_join!(to_broker, to_client);
    }
    let end = lock(&connection.gate).end;
    match end {
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

struct Connection<'a> {
    shared: &'a Shared,
    streams: Mutex<Streams>,
    gate: Mutex<Gate>,
}

/// What faults have made of a connection.
#[derive(Debug, Default)]
struct Gate {
    /// By direction: how many thaws there had been when it was frozen.
    frozen: [Option<u64>; 2],
    /// The cut or reset that ends it.
    end: Option<Action>,
}

impl Connection<'_> {
    /// Passes on one direction, frame by frame.
    async fn pump(
        &self,
        direction: Direction,
        read: ReadHalf<'_>,
        mut write: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut read = BufReader::with_capacity(BUFFER, read);
        while let Some(&first) = read.fill_buf().await?.first() {
            let (mut header, length) = (Vec::new(), lock(&self.streams).header_length(direction, first));
            (&mut read).take(length).read_to_end(&mut header).await?;
            let begun = lock(&self.streams).begin(direction, &header);
            self.strike(begun.first).await?;
            let mut frame = header.chain(&mut read).take(begun.length);
            if begun.last.is_some() {
                frame.set_limit(begun.length - 1);
                self.pass(direction, &mut frame, &mut write).await?;
                frame.set_limit(1);
                // The stream may end within the frame.
                let has_last = !frame.fill_buf().await?.is_empty();
                self.strike(begun.last.filter(|_| has_last)).await?;
            }
            self.pass(direction, &mut frame, &mut write).await?;
        }
        write.shutdown().await
    }

    async fn pass(
        &self,
        direction: Direction,
        read: &mut (impl AsyncBufRead + Unpin),
        write: &mut WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut thaws = self.shared.thaws.subscribe();
        loop {
            let bytes = read.fill_buf().await?.len();
            if bytes == 0 {
                return Ok(());
            }
            // The sender lives as long as the connection.
            let _ = thaws.wait_for(|thaws| lock(&self.gate).frozen[direction as usize] != Some(*thaws)).await;
            let delay = lock(&self.shared.state).delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            write.write_all(read.fill_buf().await?).await?;
            read.consume(bytes);
        }
    }

    /// Has happen what is to happen at a moment, before any further byte is passed on; an error ends the connection.
    async fn strike(&self, moment: Option<Moment>) -> io::Result<()> {
        let actions = moment.map(|moment| lock(&self.shared.state).faults.strike(moment));
        for action in actions.unwrap_or_default() {
            match action {
                Action::Freeze(direction) => {
                    lock(&self.gate).frozen[direction as usize] = Some(*self.shared.thaws.borrow());
                }
                Action::Stop(process) => {
                    let stopped = process.stop().await?;
                    lock(&self.shared.state).stopped.push(stopped);
                }
                Action::Cut | Action::Reset => lock(&self.gate).end = Some(action),
            }
        }
        let has_ended = lock(&self.gate).end.is_some();
        if has_ended { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
