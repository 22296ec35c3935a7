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
    (ApiKey::INCREMENTAL_ALTER_CONFIGS, 0),
    (ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0),
];

/// How long the client is to be silent on the connection on which `response` came.
pub(crate) fn of_response<M: Message>(version: i16, response: &M) -> Duration {
    let client_waits = CLIENT_WAITS_FROM.iter().any(|(api, from)| *api == M::API_KEY && version >= *from);
    let throttle = response.throttle_time_ms().filter(|_| client_waits);
    Duration::from_millis(throttle.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rskafka_protocol::messages::{Visitor, visit_all};

    use super::*;

    /// For each answer that has a throttle time, the first version after which the client waits.
    #[derive(Default)]
    struct WaitsFrom(Vec<(&'static str, Option<i16>)>);

    impl Visitor for WaitsFrom {
        fn visit<M: Message>(&mut self, _: &'static str) {
            let mut response = M::default();
            let Some(throttle_time_ms) = response.throttle_time_ms_mut() else {
                return;
            };
            *throttle_time_ms = 70;
            let versions = M::VERSIONS.min..=M::VERSIONS.max;
            let waits = |version: &i16| of_response(*version, &response) == Duration::from_millis(70);
            let first = versions.clone().find(waits);
            assert!(versions.skip_while(|version| !waits(version)).all(|version| waits(&version)));
            self.0.push((M::NAME, first));
        }
    }

    #[test]
    fn the_client_waits_from_the_versions_from_which_java_does() {
        let mut found = WaitsFrom::default();
        visit_all(&mut found);
        found.0.sort_unstable();
        // `shouldClientThrottle` of each of Kafka's classes. It is false for those with `None`.
        let expected = [
            ("ApiVersionsResponse", Some(2)),
            ("CreatePartitionsResponse", Some(1)),
            ("CreateTopicsResponse", Some(3)),
            ("DeleteRecordsResponse", Some(1)),
            ("DeleteTopicsResponse", Some(2)),
            ("DescribeClusterResponse", None),
            ("DescribeConfigsResponse", Some(2)),
            ("DescribeProducersResponse", None),
            ("DescribeTopicPartitionsResponse", Some(0)),
            ("FetchResponse", Some(8)),
            ("FindCoordinatorResponse", Some(2)),
            ("IncrementalAlterConfigsResponse", Some(0)),
            ("InitProducerIdResponse", Some(1)),
            ("ListOffsetsResponse", Some(3)),
            ("MetadataResponse", Some(6)),
            ("OffsetForLeaderEpochResponse", None),
            ("ProduceResponse", Some(6)),
        ];
        assert_eq!(found.0, expected);
    }
}
