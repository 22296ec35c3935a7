//! The order in which the addresses of a name are tried (RFC 8305, section 4).
//!
//! Invariant: each address comes once, and the resolver's first stays first.

use std::collections::HashSet;
use std::net::SocketAddr;

/// The addresses without repetition, alternating between IPv6 and IPv4, so that a dead network of one kind
/// costs one attempt and not all of them.
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let mut ordered = Vec::with_capacity(addresses.len());
    let mut seen = HashSet::new();
    let unique = addresses.into_iter().filter(|address| seen.insert(*address));
    let (preferred, others): (Vec<_>, Vec<_>) = unique.partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    loop {
        match (preferred.next(), others.next()) {
            (None, None) => return ordered,
            (one, other) => ordered.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_beginning_with_the_resolvers_first() {
        assert_eq!(
            interleaved(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "[::1]:1", "2.2.2.2:1"])),
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
    }

    proptest! {
        #[test]
        fn no_address_is_lost_or_tried_twice(
            given in prop::collection::vec((any::<bool>(), 0u8..6).prop_map(|(v6, last)| {
                let ip = Ipv4Addr::new(10, 0, 0, last);
                if v6 { (ip.to_ipv6_mapped(), 1).into() } else { (ip, 1).into() }
            }), 0..12),
        ) {
            let ordered = interleaved(given.clone());
            prop_assert_eq!(ordered.first(), given.first());
            let sorted = |mut list: Vec<SocketAddr>| { list.sort(); list };
            let mut unique = sorted(given);
            unique.dedup();
            prop_assert_eq!(sorted(ordered), unique);
        }
    }
}
