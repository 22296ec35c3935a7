//! A Kafka cluster inside a test, and clients of it. Needs the feature `fake`.
//!
//! All of `rskafka-fake`, and a trait that connects a [`Client`] to it:
//!
//! ```
//! use rskafka::fake::{FakeCluster, FakeClusterExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = FakeCluster::builder().brokers(3).in_memory().start().await?;
//! let client = cluster.client().await?;
//! client.create_topic("wal", 1, 3).await?;
//! # Ok(())
//! # }
//! ```

pub use rskafka_fake::*;

use crate::client::env::{Env, EnvBuilder};
use crate::client::{Client, error};

/// Connects clients to a [`FakeCluster`], over in-memory pipes, also if its brokers have ports.
pub trait FakeClusterExt {
    /// An environment whose connections all lead to this cluster, to be configured further, e.g. with a seed.
    fn env_builder(&self) -> EnvBuilder;

    /// A client of the cluster, with the defaults of [`Client::builder`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::build`](crate::client::ClientBuilder::build): e.g. no broker runs, or an injected
    /// fault hit the first requests.
    fn client(&self) -> impl Future<Output = error::Result<Client>> + Send;

    /// An environment whose connections all lead to this cluster, for
    /// [`ClientBuilder::env`](crate::client::ClientBuilder::env).
    fn env(&self) -> Env {
        self.env_builder().build()
    }
}

impl FakeClusterExt for FakeCluster {
    fn env_builder(&self) -> EnvBuilder {
        let cluster = self.clone();
        Env::builder().connector(move |host: String, port: u16| {
            let cluster = cluster.clone();
            async move { cluster.connect(&host, port).await }
        })
    }

    fn client(&self) -> impl Future<Output = error::Result<Client>> + Send {
        Client::builder(self.bootstrap_servers()).env(self.env()).build()
    }
}
