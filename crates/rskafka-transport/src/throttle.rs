//! For how long an answer asks for silence (KIP-219).
//!
//! Invariant: of versions below that of the table the broker itself has held the answer back, so nobody
//! waits a second time (Kafka method `AbstractResponse.shouldClientThrottle`).

use std::time::Duration;

use rskafka_protocol::{ApiKey, Message};

/// The first version of each API after whose answers it is the client that waits.
const CLIENT_WAITS_FROM: &[(ApiKey, i16)] = &[
    (ApiKey::PRODUCE, 6),
    (ApiKey::FETCH, 8),
    (ApiKey::LIST_OFFSETS, 3),
    (ApiKey::METADATA, 6),
    (ApiKey::FIND_COORDINATOR, 2),
    (ApiKey::API_VERSIONS, 2),
    (ApiKey::CREATE_TOPICS, 3),
    (ApiKey::DELETE_TOPICS, 2),
    (ApiKey::DELETE_RECORDS, 1),
    (ApiKey::INIT_PRODUCER_ID, 1),
    (ApiKey::DESCRIBE_CONFIGS, 2),
    (ApiKey::CREATE_PARTITIONS, 1),
];

/// How long the client is to be silent on the connection on which `response` came.
pub(crate) fn of_response<M: Message>(version: i16, response: &M) -> Duration {
    let client_waits = CLIENT_WAITS_FROM.iter().any(|(api, from)| *api == M::API_KEY && version >= *from);
    let throttle = response.throttle_time_ms().filter(|_| client_waits);
    Duration::from_millis(throttle.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
}
