//! Frames in: what a client sends becomes requests that wait to be served.
//!
//! Invariant: a request is recorded when its last byte is there; an end within one is told from one between.

use std::fmt;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use rskafka_protocol::RequestHeader;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use crate::received::ReceivedRequest;
use crate::shared::Listed;

/// Enough for a small request in one read; larger bodies go past it into their own memory.
const READ_BUFFER: usize = 4096;

/// A request that is there and not yet taken.
pub(super) struct Arrived {
    pub(super) sequence: u64,
    pub(super) header: RequestHeader,
    pub(super) body: Bytes,
}

/// Why no more requests come.
#[derive(Debug)]
pub(super) enum End {
    /// The client ended between two requests.
    Clean,
    /// The client ended within a request.
    Partial,
    /// What came cannot be a request, or a fault ended the connection.
    Broken(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("end of stream"),
            Self::Partial => f.write_str("end of stream within a request"),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

pub(super) async fn read_requests<R>(read: R, sender: mpsc::Sender<Arrived>, listed: &Listed) -> End
where
    R: AsyncRead + Unpin,
{
    let Listed { id, connected, shared } = listed;
    let mut read = BufReader::with_capacity(READ_BUFFER, read);
    loop {
        let frame = match read_frame(&mut read, shared.limits.max_request_bytes).await {
            Ok(frame) => frame,
            Err(end) => return end,
        };
        let (header, body) = match RequestHeader::decode(&frame) {
            Ok(decoded) => decoded,
            Err(error) => return End::Broken(io::Error::other(error)),
        };
        let sequence = shared.with(|state, now| {
            state.received.arrived(|sequence| ReceivedRequest {
                sequence,
                broker: connected.broker,
                connection: *id,
                api_key: header.api_key,
                api_version: header.api_version,
                correlation_id: header.correlation_id,
                client_id: header.client_id.clone(),
                size: rskafka_protocol::frame::LENGTH_PREFIX + frame.len(),
                arrived: now.instant,
                taken: None,
                answered: None,
            })
        });
        shared.arrivals.notify_waiters();
        // The body is now the only part of the frame that is held.
        drop(frame);
        // After the last request is served, the rest is still read, to see how the stream ends.
        let _ = sender.send(Arrived { sequence, header, body }).await;
    }
}

/// Reads one frame into memory of its size.
async fn read_frame<R>(read: &mut R, limit: usize) -> Result<Bytes, End>
where
    R: AsyncBufRead + Unpin,
{
    // The stream's own error is that of a fault (see `Stream`): then it is not the client that ended.
    let within = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionAborted => End::Broken(error),
        _ => End::Partial,
    };
    match read.fill_buf().await {
        Ok([]) => return Err(End::Clean),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Err(End::Broken(error)),
        Err(_) => return Err(End::Clean),
    }
    let length = read.read_i32().await.map_err(within)?;
    let length = match usize::try_from(length) {
        Ok(length) if length <= limit => length,
        _ => {
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("frame length {length}"));
            return Err(End::Broken(error));
        }
    };
    let mut frame = BytesMut::with_capacity(length);
    while frame.len() < length {
        let missing = length - frame.len();
        let mut room = (&mut frame).limit(missing);
        if read.read_buf(&mut room).await.map_err(within)? == 0 {
            return Err(End::Partial);
        }
    }
    Ok(frame.freeze())
}
