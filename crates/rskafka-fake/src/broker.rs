//! A broker's task: its port or its pipes, and the connections made through them.
//!
//! Invariant: when the task has ended, so have all of its connections; a stopped broker keeps its port,
//! which refuses connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::shared::Shared;

/// Connections that the kernel, or a pipe's queue, holds before they are accepted.
const BACKLOG: u32 = 128;

/// A port that is bound, so that no other process gets it, but refuses connections.
#[derive(Debug)]
pub(crate) struct Port(TcpSocket);

impl Port {
    /// A port of the loopback device; 0 for any.
    pub(crate) fn reserve(port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // So that the same port can be bound while old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(Self(socket))
    }

    pub(crate) fn number(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}

/// The broker's end of a pipe, and who has the other.
pub(crate) type NewPipe = (DuplexStream, Option<String>);

/// A running broker. Dropping it ends its task at once.
#[derive(Debug)]
pub(crate) struct RunningBroker {
    pipes: mpsc::Sender<NewPipe>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl RunningBroker {
    /// Starts a broker on a port, or with pipes only.
    pub(crate) fn start(id: i32, port: Option<Port>, shared: Arc<Shared>) -> io::Result<Self> {
        let listener = port.map(|Port(socket)| socket.listen(BACKLOG)).transpose()?;
        let (pipes, receiver) = mpsc::channel(BACKLOG as usize);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(id, listener, receiver, stopped, shared));
        Ok(Self { pipes, stop: Some(stop), task })
    }

    /// Where to send the broker's end of a new pipe.
    pub(crate) fn pipes(&self) -> mpsc::Sender<NewPipe> {
        self.pipes.clone()
    }

    /// Cuts all connections and ends the task.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        // An error would be a panic of the task, which has been reported.
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    id: i32,
    listener: Option<TcpListener>,
    mut pipes: mpsc::Receiver<NewPipe>,
    mut stopped: oneshot::Receiver<()>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some((stream, client)) = pipes.recv() => {
                connections.spawn(connection::serve(Box::new(stream), shared.connected(id, client)));
            }
            stream = accept(listener.as_ref()) => {
                connections.spawn(connection::serve(Box::new(stream), shared.connected(id, None)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it the tail of an answer may wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
