//! Free ports of 127.0.0.1, for all listeners of an environment together.
//!
//! Invariant: environments have blocks of ports that do not overlap, and the first port of a block is listened on for as long as its
//! environment runs. So a port that is only advertised, and free until a test listens on it, goes to no other environment;
//! and being below those that Linux gives to outgoing connections, it goes to nobody else by accident.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::TcpListener;

use anyhow::{Context, Result};

const LOWEST: u16 = 10_048;
/// Where Linux begins with outgoing connections (`net.ipv4.ip_local_port_range`).
const END: u16 = 32_768;
/// More than three brokers and a controller need.
const BLOCK: u16 = 64;

/// Hands out the ports of a free block; they stay bound until the function is dropped.
pub(crate) fn free_block() -> Result<impl FnMut() -> Result<u16>> {
    let blocks = u64::from((END - LOWEST) / BLOCK);
    let random = RandomState::new().hash_one(0) % blocks;
    let mut bound = (0..blocks)
        .map(|nth| LOWEST + ((random + nth) % blocks) as u16 * BLOCK)
        .find_map(|first| bind(first).ok())
        .context("no 64 free ports in a row on 127.0.0.1")?
        .into_iter();
    let mut handed_out = Vec::new();
    Ok(move || {
        let listener = bound.next().context("an environment needs more ports than a block has")?;
        let port = listener.local_addr()?.port();
        handed_out.push(listener);
        Ok(port)
    })
}

fn bind(first: u16) -> io::Result<Vec<TcpListener>> {
    (first..first + BLOCK).map(|port| TcpListener::bind(("127.0.0.1", port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_whose_first_port_is_listened_on_is_not_handed_out() {
        let first = free_block().unwrap()().unwrap();
        assert!((LOWEST..END).contains(&first) && (first - LOWEST).is_multiple_of(BLOCK), "{first}");
        let Ok(_running) = TcpListener::bind(("127.0.0.1", first)) else { return };
        assert!(bind(first).is_err());
    }

    #[test]
    fn no_port_is_handed_out_twice_and_none_beyond_the_block() {
        let mut free = free_block().unwrap();
        let ports: Vec<u16> = (0..BLOCK).map(|_| free().unwrap()).collect();
        assert!(ports.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ports:?}");
        assert!(free().is_err());
        assert!(TcpListener::bind(("127.0.0.1", ports[3])).is_err());
    }
}
