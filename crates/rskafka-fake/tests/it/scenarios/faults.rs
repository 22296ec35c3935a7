//! Faults that make no sense, and faults by chance.

use std::time::Duration;

use rskafka_fake::{ByteFault, ControlError, FakeCluster, Fault, Profile};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ApiKey, ErrorCode};

use super::Stage;

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_and_the_error_says_why() {
    for profile in Profile::ALL {
        let Stage { cluster, .. } = Stage::new(profile, 2).await;
        let why = |fault: Fault| match cluster.try_inject(fault) {
            Err(ControlError::NoSense { reason }) => reason,
            other => panic!("{profile}: {other:?}"),
        };
        let mut reasons = vec![
            (why(Fault::close().times(0)), "strikes 0 times"),
            (why(Fault::delay(Duration::ZERO)), "changes nothing"),
            (why(Fault::throttle(Duration::ZERO)), "changes nothing"),
            (why(Fault::flip(3, 0)), "changes nothing"),
            (why(Fault::shorten(0)), "changes nothing"),
            (why(Fault::lengthen("")), "changes nothing"),
            (why(Fault::wrong_correlation_id(0)), "changes nothing"),
            (why(Fault::close().by_chance(0.0)), "a chance of 0"),
            (why(Fault::close().by_chance(1.5)), "a chance of 1.5"),
            (why(Fault::close().by_chance(f64::NAN)), "a chance of NaN"),
            (why(Fault::close().partition("t", -1)), "a fault of partition"),
            (why(Fault::close().on(ApiKey(999))), "do not speak"),
            (why(Fault::close().on(ApiKey::FIND_COORDINATOR).topic("t")), "of a topic"),
            (why(Fault::close().on(ApiKey::METADATA).partition("t", 0)), "of a partition"),
        ];
        if profile == Profile::EventHubs {
            reasons.push((why(Fault::close().on(ApiKey::DELETE_RECORDS)), "do not speak"));
        }
        for (reason, part) in reasons {
            assert!(reason.contains(part), "{profile}: {reason:?} has no {part:?}");
        }
        let why = |fault: ByteFault| match cluster.try_inject_bytes(fault) {
            Err(ControlError::NoSense { reason }) => reason,
            other => panic!("{profile}: {other:?}"),
        };
        assert!(why(ByteFault::cut().times(0)).contains("strikes 0 times"));
        assert!(why(ByteFault::flip(0)).contains("changes nothing"));
        assert!(why(ByteFault::stall(Duration::ZERO)).contains("changes nothing"));
        assert!(why(ByteFault::cut().after_sent_within(5..5)).contains("within 5..5"));

        let unknown = cluster.try_inject(Fault::close().at_broker(3));
        assert!(matches!(unknown, Err(ControlError::UnknownBroker { broker: 3 })));
        let unknown = cluster.try_inject_bytes(ByteFault::cut().at_broker(0));
        assert!(matches!(unknown, Err(ControlError::UnknownBroker { broker: 0 })));
        // None of these faults was injected, so none strikes.
        assert_eq!(cluster.struck(cluster.inject(Fault::close().at_broker(2))), 0);
    }
}

#[tokio::test]
async fn a_command_that_fails_reads_as_a_sentence_however_it_is_printed() {
    let cluster = crate::support::fake().in_memory().start().await.unwrap();
    let error = cluster.move_leader("wal", 3, 1).unwrap_err();
    assert_eq!(format!("{error:?}"), "no partition 3 of topic wal");
    assert_eq!(error.to_string(), format!("{error:?}"));
    let error = cluster.try_inject(Fault::close().partition("wal", -1)).unwrap_err();
    assert_eq!(error.to_string(), "it makes no sense: a fault of partition -1");
}

#[tokio::test]
async fn commands_on_the_network_and_on_metadata_that_cannot_be_are_errors() {
    let cluster = crate::support::fake().brokers(2).in_memory().start().await.unwrap();
    let unknown = |result: Result<(), ControlError>| {
        assert!(matches!(result, Err(ControlError::UnknownBroker { broker: 7 })), "{result:?}");
    };
    unknown(cluster.isolate_broker(7));
    unknown(cluster.isolate_client("a", 7));
    unknown(cluster.rejoin_broker(7));
    unknown(cluster.hold_metadata(7));
    unknown(cluster.hold_metadata_for(7, 1));
    unknown(cluster.release_metadata(7));
    unknown(cluster.advertise_address(7, "elsewhere", 1));
    unknown(cluster.swap_addresses(1, 7).await);
    unknown(cluster.swap_addresses(7, 1).await);
    assert!(matches!(cluster.swap_addresses(2, 2).await, Err(ControlError::NoSense { .. })));
    assert!(matches!(cluster.hold_metadata_for(1, 0), Err(ControlError::NoSense { .. })));
    assert!(matches!(cluster.recreate_topic("no"), Err(ControlError::UnknownTopic { .. })));
    for builder in
        [FakeCluster::builder().default_partitions(0), FakeCluster::builder().default_replication_factor(0)]
    {
        let error = builder.in_memory().start().await.unwrap_err();
        assert!(matches!(error, ControlError::InvalidSetting { .. }), "{error}");
    }
}

#[tokio::test]
#[should_panic(expected = "strikes 0 times")]
async fn a_fault_that_makes_no_sense_does_not_go_by_unnoticed() {
    let cluster = crate::support::fake().in_memory().start().await.unwrap();
    cluster.inject(Fault::close().times(0));
}

#[tokio::test]
async fn by_chance_the_seed_decides_which_requests_are_struck() {
    for profile in Profile::ALL {
        let struck = async |seed: u64, chance: f64| {
            let builder = FakeCluster::builder().in_memory().seed(seed);
            let stage = Stage::with(profile, builder).await;
            stage.cluster.create_topic("t", 1, 1).unwrap();
            let fault = Fault::answer(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION).on(ApiKey::METADATA).topic("t");
            let fault = stage.cluster.inject(fault.by_chance(chance).always());
            let mut client = stage.client(1).await;
            let mut refused = Vec::new();
            for _ in 0..100 {
                refused.push(!stage.metadata(&mut client).await.topics[0].error_code.is_ok());
            }
            let count = refused.iter().filter(|refused| **refused).count();
            assert_eq!(stage.cluster.struck(fault), count as u64);
            (refused, count)
        };
        let (first, count) = struck(1, 0.3).await;
        assert!((15..45).contains(&count), "{profile}: {count} of 100");
        assert_eq!(struck(1, 0.3).await.0, first, "{profile}");
        assert_ne!(struck(2, 0.3).await.0, first, "{profile}");
        assert_eq!(struck(1, 1.0).await.1, 100);
    }
    // It goes together with a number of times.
    let stage = Stage::new(Profile::Kafka4_4, 1).await;
    let fault = Fault::answer(ErrorCode::UNKNOWN_SERVER_ERROR).on(ApiKey::METADATA);
    let fault = stage.cluster.inject(fault.by_chance(0.5).times(3));
    let mut client = stage.client(1).await;
    for _ in 0..50 {
        client.call(9, &MetadataRequest::default()).await;
    }
    assert_eq!(stage.cluster.struck(fault), 3);
}
