//! TCP to the first address that answers ("happy eyeballs", RFC 8305): the next address is tried when one fails or
//! has not answered for a moment.
//!
//! Invariant: a dead address delays the connection by at most [`STAGGER`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::OpenProgress;

/// How long an address may stay silent before the next one is tried as well; RFC 8305 recommends this.
const STAGGER: Duration = Duration::from_millis(250);

/// A silent peer is probed after this time, so that a connection through a forgetful firewall is kept, or
/// is seen to be dead.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The operating system's resolver.
pub(crate) async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

/// The first stream to any of the addresses; `None` once all have failed.
pub(super) async fn connect_any(addresses: Vec<SocketAddr>, progress: &OpenProgress) -> Option<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts = JoinSet::new();
    loop {
        // Each turn starts one more: the first, after a failure, or after a moment of silence.
        match left.next() {
            Some(address) => {
                progress.try_address(address);
                attempts.spawn(async move { (address, connect(address).await) });
            }
            None if attempts.is_empty() => return None,
            None => {}
        }
        tokio::select! { biased;
            ended = attempts.join_next() => match ended {
                Some(Ok((_, Ok(stream)))) => return Some(stream),
                Some(Ok((address, Err(error)))) => progress.failed(address, &error),
                // The runtime ends.
                None | Some(Err(_)) => {}
            },
            () = sleep(STAGGER), if left.len() > 0 => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // On loopback, TCP may connect a port without listener to itself (simultaneous open).
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_send_at_once_and_probe_a_silent_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (KEEP_ALIVE, KEEP_ALIVE_INTERVAL)
        );
    }
}
