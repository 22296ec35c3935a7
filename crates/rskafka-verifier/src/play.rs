//! A fake cluster on loopback ports, to play with: it serves any client until it is ended.

use std::str::FromStr;

use anyhow::{Context, Result};
use rskafka_fake::{FakeCluster, Profile};

/// What a partition keeps; older records go, so that memory has a bound however long it is played with.
const RETAINED_BYTES: usize = 256 << 20;
const MOST_REPLICAS: usize = 3;

/// A topic that the cluster begins with: `NAME:PARTITIONS[:REPLICAS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    name: String,
    partitions: i32,
    /// As many as there are brokers, but 3 at most, if not given.
    replicas: Option<i16>,
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NAME:PARTITIONS[:REPLICAS], e.g. wal:3 or wal:3:2");
        let mut parts = text.split(':');
        let (name, partitions) = parts.next().zip(parts.next()).ok_or_else(wrong)?;
        let partitions = partitions.parse().map_err(|_| wrong())?;
        let replicas = parts.next().map(str::parse).transpose().map_err(|_| wrong())?;
        match parts.next() {
            Some(_) => Err(wrong()),
            None => Ok(Self { name: name.to_owned(), partitions, replicas }),
        }
    }
}

/// Starts the cluster.
///
/// # Errors
///
/// It cannot have that many brokers, or a topic cannot be.
pub async fn start(brokers: usize, profile: Profile, topics: &[Topic]) -> Result<FakeCluster> {
    let builder = FakeCluster::builder().brokers(brokers).profile(profile);
    // Topics have other ids than those of an earlier run, so that a position of one of those is refused.
    let builder = builder.retain_bytes_per_partition(RETAINED_BYTES).seed(std::process::id().into());
    let cluster = builder.start().await.context("the cluster does not start")?;
    for Topic { name, partitions, replicas } in topics {
        let replicas = replicas.unwrap_or(brokers.min(MOST_REPLICAS) as i16);
        cluster.create_topic(name, *partitions, replicas).with_context(|| format!("topic {name}"))?;
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_name_with_partitions_and_replicas() {
        let topic = |replicas| Topic { name: "wal".to_owned(), partitions: 3, replicas };
        assert_eq!("wal:3".parse(), Ok(topic(None)));
        assert_eq!("wal:3:2".parse(), Ok(topic(Some(2))));
        for wrong in ["wal", "wal:", "wal:x", "wal:3:x", "wal:3:2:1"] {
            assert!(wrong.parse::<Topic>().unwrap_err().contains("NAME:PARTITIONS"), "{wrong}");
        }
    }
}
