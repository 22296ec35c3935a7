//! The accept loop that the proxy and the SOCKS5 server share.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// After a connection that could not be accepted, so that a lack of file descriptors does not keep a core busy.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves each connection in a task; they all end with this future.
pub(crate) async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(serve(client));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}
