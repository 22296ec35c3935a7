//! Asks a broker who is in its cluster: the smallest exchange that shows it to be usable.
//!
//! Written by hand, because xtask uses no crate of the project: whether the environment is ready must not
//! depend on the code under test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Far above the answer of any cluster that xtask starts.
const MAX_FRAME: usize = 1 << 20;

/// Metadata (key 3) version 1, correlation id 1, client id "xtask", about no topic. Every Kafka from 0.10 on speaks it.
const REQUEST: &[u8] = b"\0\x03\0\x01\0\0\0\x01\0\x05xtask\0\0\0\0";

/// What the broker at this address still lacks to be one of a usable cluster, in which every broker says that every broker is
/// alive: then topics can be created with all replicas.
pub(crate) fn lacks(address: &str, brokers: usize) -> Option<String> {
    match live_brokers(address) {
        Ok(live) if live as usize == brokers => None,
        Ok(live) => Some(format!("knows {live} live brokers")),
        Err(error) => Some(error.to_string()),
    }
}

/// How many brokers the broker at this address holds to be alive; one that is fenced (not yet registered) is not counted.
fn live_brokers(address: &str) -> Result<u32> {
    let address: SocketAddr = address.parse()?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("does not listen")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = u32::try_from(REQUEST.len())?.to_be_bytes();
    stream.write_all(&[&length, REQUEST].concat())?;

    let mut length = [0; 4];
    stream.read_exact(&mut length).context("does not answer")?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(length <= MAX_FRAME, "answers with something that is not Kafka");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).context("breaks off its answer")?;
    brokers_in(&frame).context("answers with something that is not Kafka")
}

/// The length of the array of brokers, which follows the correlation id.
fn brokers_in(frame: &[u8]) -> Option<u32> {
    let (correlation_id, rest) = frame.split_first_chunk::<4>()?;
    let (brokers, _) = rest.split_first_chunk::<4>()?;
    (*correlation_id == [0, 0, 0, 1]).then(|| u32::from_be_bytes(*brokers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_brokers_follows_the_correlation_id() {
        assert_eq!(brokers_in(&[0, 0, 0, 1, 0, 0, 0, 3, 9, 9]), Some(3));
        assert_eq!(brokers_in(&[0, 0, 0, 2, 0, 0, 0, 3]), None);
        assert_eq!(brokers_in(b"HTTP"), None);
    }
}
