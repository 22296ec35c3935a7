//! A broker far away: bytes are passed on in both directions as long after they came as they would need for the way.
//!
//! Invariant: what is on its way holds nothing up that comes behind it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

const PIECE: usize = 64 * 1024;
/// Pieces: more than a client has in flight.
const ON_ITS_WAY: usize = 1024;

/// Listens until the process ends; gives the address.
pub(crate) fn start(target: &str, one_way: Duration) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let target = target.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let passed = client.and_then(|client| pass(client, TcpStream::connect(&target)?, one_way));
            if let Err(error) = passed {
                eprintln!("a connection failed: {error}");
            }
        }
    });
    Ok(address)
}

fn pass(client: TcpStream, broker: TcpStream, one_way: Duration) -> io::Result<()> {
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
    }
    for (from, to) in [(client.try_clone()?, broker.try_clone()?), (broker, client)] {
        let (came, goes) = sync_channel(ON_ITS_WAY);
        thread::spawn(move || read(from, &came));
        thread::spawn(move || write(to, &goes, one_way));
    }
    Ok(())
}

fn read(mut from: TcpStream, came: &SyncSender<(Instant, Vec<u8>)>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if came.send((Instant::now(), piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, goes: &Receiver<(Instant, Vec<u8>)>, one_way: Duration) {
    for (came, piece) in goes {
        thread::sleep((came + one_way).saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
