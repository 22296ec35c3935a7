//! The clusters that the compose files of `docker/` describe; the tests hold the files against this.

/// A cluster that a compose file describes.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Of the environment.
    pub(crate) name: &'static str,
    /// From the root of the workspace.
    pub(crate) file: &'static str,
    /// The value for `KAFKA_CONNECT`.
    pub(crate) connect: &'static str,
}

/// All of them.
pub(crate) const CLUSTERS: [Cluster; 2] = [
    Cluster { name: "docker-kafka", file: "docker/docker-compose-kafka.yml", connect: "localhost:9094" },
    Cluster { name: "docker-redpanda", file: "docker/docker-compose-redpanda.yml", connect: "0.0.0.0:9093" },
];

/// The one of this name.
pub(crate) fn cluster(name: &str) -> Option<&'static Cluster> {
    CLUSTERS.iter().find(|cluster| cluster.name == name)
}

#[cfg(test)]
mod tests;
