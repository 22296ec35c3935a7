//! What `cargo xtask` tells of the environment it has started: the file of `key=value` lines in `KAFKA_ENVIRONMENT`
//! (see docs/environments.md).

use std::collections::HashMap;

use crate::common::Brokers;

pub struct Environment {
    facts: HashMap<String, String>,
}

impl Environment {
    /// The environment of this run.
    pub fn get() -> Self {
        let file = std::env::var_os("KAFKA_ENVIRONMENT").expect(
            "this test needs an environment of `cargo xtask`: `cargo xtask env up kafka` prints KAFKA_ENVIRONMENT",
        );
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let facts = text.lines().filter_map(|line| line.split_once('='));
        Self { facts: facts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
    }

    /// One of its facts.
    pub fn fact(&self, key: &str) -> &str {
        self.facts.get(key).unwrap_or_else(|| panic!("the environment does not say {key:?}"))
    }
}

/// Runs a test on the environment's brokers.
pub fn run<F: Future<Output = ()>>(test: fn(Environment, Brokers) -> F) {
    let environment = Environment::get();
    crate::block_on(test(environment, crate::brokers()));
}
