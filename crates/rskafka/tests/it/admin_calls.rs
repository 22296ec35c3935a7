//! Admin calls whose answers are lost, refused, late, or come from the wrong broker: what is said of them is what was done.

use std::time::Duration;

use rskafka::client::error::{Error, ErrorKind, Outcome};
use rskafka::client::{Client, PartitionClient};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::Instant;

use super::common::record;
use super::kit::{TIMEOUT, TOPIC, builder, failure, fake, has_topic_ids, start};

const DOOMED: &str = "doomed";
const SECOND: &str = "second";

/// The calls that change something.
const CHANGES: [ApiKey; 5] = [
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::DELETE_RECORDS,
];

/// Those that only the controller makes.
const OF_CONTROLLER: [ApiKey; 3] = [ApiKey::CREATE_TOPICS, ApiKey::DELETE_TOPICS, ApiKey::CREATE_PARTITIONS];

struct Kit {
    cluster: FakeCluster,
    client: Client,
    log: PartitionClient,
}

impl Kit {
    /// Three brokers, two topics, three records. `None` if the brokers do not have the API.
    async fn new(api: ApiKey) -> Option<Self> {
        let (cluster, client, log) = start(3).await;
        cluster.create_topic(DOOMED, 1, 1).unwrap();
        for value in ["a", "b", "c"] {
            log.produce([record(value)]).await.unwrap();
        }
        cluster.clear_requests();
        let is_known = cluster.advertised().iter().any(|(known, _)| *known == api);
        is_known.then_some(Self { cluster, client, log })
    }

    async fn change(&self, api: ApiKey) -> Result<(), Error> {
        match api {
            ApiKey::CREATE_TOPICS => self.client.create_topic(SECOND, 1, 1).await,
            ApiKey::DELETE_TOPICS => self.client.delete_topic(DOOMED).await,
            ApiKey::CREATE_PARTITIONS => self.client.create_partitions(TOPIC, 3).await,
            ApiKey::INCREMENTAL_ALTER_CONFIGS => {
                self.client.alter_configs(TOPIC, &[("retention.ms", Some("-1"))]).await
            }
            ApiKey::DELETE_RECORDS => self.log.delete_records(2).await.map(|low| assert_eq!(low, 2)),
            other => unreachable!("{other} changes nothing"),
        }
    }

    fn is_changed(&self, api: ApiKey) -> bool {
        match api {
            ApiKey::CREATE_TOPICS => self.cluster.topic_id(SECOND).is_ok(),
            ApiKey::DELETE_TOPICS => self.cluster.topic_id(DOOMED).is_err(),
            ApiKey::CREATE_PARTITIONS => self.cluster.leader(TOPIC, 2).is_ok(),
            ApiKey::INCREMENTAL_ALTER_CONFIGS => {
                self.cluster.topic_configs(TOPIC).unwrap().contains_key("retention.ms")
            }
            _ => self.cluster.log(TOPIC, 0).unwrap().log_start_offset == 2,
        }
    }

    fn asked(&self, api: ApiKey) -> Vec<i32> {
        let requests = self.cluster.requests().into_iter().filter(|request| request.api_key == api);
        requests.map(|request| request.broker).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_is_lost_succeeds() {
    for api in CHANGES {
        for lost in [Fault::close(), Fault::swallow(), Fault::answer(ErrorCode::REQUEST_TIMED_OUT)] {
            for is_applied in [true, false] {
                let Some(kit) = Kit::new(api).await else { continue };
                let lost = if is_applied { lost.clone().after_applying() } else { lost.clone() };
                let lost = kit.cluster.inject(lost.on(api));
                kit.change(api)
                    .await
                    .unwrap_or_else(|error| panic!("{api}, applied {is_applied}: {error:?}"));
                assert!(kit.is_changed(api), "{api}");
                assert_eq!((kit.cluster.struck(lost), kit.asked(api).len()), (1, 2), "{api}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_never_answered_may_be_made() {
    for api in CHANGES {
        for is_applied in [true, false] {
            let Some(kit) = Kit::new(api).await else { continue };
            let silent = if is_applied { Fault::swallow().after_applying() } else { Fault::swallow() };
            kit.cluster.inject(silent.on(api).always());
            let error = failure(TIMEOUT, kit.change(api)).await;
            assert_eq!((error.outcome(), error.is_timeout()), (Outcome::Unknown, true), "{api}: {error:?}");
            assert_eq!(kit.is_changed(api), is_applied, "{api}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_is_not_made() {
    for api in CHANGES {
        for code in [
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            ErrorCode::POLICY_VIOLATION,
        ] {
            let Some(kit) = Kit::new(api).await else { continue };
            kit.cluster.inject(Fault::answer(code).on(api).always());
            let error = kit.change(api).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.outcome()),
                (&ErrorKind::Broker(code), Outcome::NotWritten),
                "{error:?}"
            );
            assert_eq!((error.code(), error.api()), (Some(code), Some(api)));
            assert!(error.topic().is_some() && error.broker().is_some(), "{error:?}");
            assert!(!kit.is_changed(api) && kit.asked(api).len() == 1, "{api}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_after_a_lost_answer_may_be_made() {
    for api in CHANGES {
        let Some(kit) = Kit::new(api).await else { continue };
        kit.cluster.inject(Fault::close().after_applying().on(api));
        kit.cluster.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(api).always());
        let error = kit.change(api).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{api}: {error:?}");
        assert!(kit.is_changed(api), "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_sent_is_not_made() {
    for api in CHANGES {
        let Some(kit) = Kit::new(api).await else { continue };
        for broker in 1..=3 {
            kit.cluster.stop_broker(broker).await.unwrap();
        }
        let error = failure(TIMEOUT, kit.change(api)).await;
        assert_eq!(error.outcome(), Outcome::NotWritten, "{api}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_changes_nothing() {
    for api in CHANGES {
        let Some(kit) = Kit::new(api).await else { continue };
        kit.client.close().await;
        let error = kit.change(api).await.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::NotWritten), "{error:?}");
        assert!(!kit.is_changed(api), "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_over_the_quota_are_added_later() {
    let code = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
    for api in OF_CONTROLLER {
        let kit = Kit::new(api).await.unwrap();
        let refused = kit.cluster.inject(Fault::answer(code).on(api).times(2));
        kit.change(api).await.unwrap();
        assert!(kit.cluster.struck(refused) == 2 && kit.is_changed(api), "{api}");

        let kit = Kit::new(api).await.unwrap();
        kit.cluster.inject(Fault::answer(code).on(api).always());
        let error = failure(TIMEOUT, kit.change(api)).await;
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::NotWritten), "{error:?}");
        assert!(!kit.is_changed(api), "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_controller_is_found_again_after_it_moved() {
    for api in OF_CONTROLLER {
        for says_so in [true, false] {
            let kit = Kit::new(api).await.unwrap();
            // From here on the client knows the controller.
            kit.client.create_topic("known", 1, 1).await.unwrap();
            let known = kit.asked(ApiKey::CREATE_TOPICS)[0];
            kit.cluster.clear_requests();
            match says_so {
                true => drop(kit.cluster.inject(Fault::answer(ErrorCode::NOT_CONTROLLER).on(api))),
                false => kit.cluster.stop_broker(known).await.unwrap(),
            }
            // The doomed topic may lie at the broker that has stopped; it is deleted all the same.
            kit.change(api).await.unwrap();
            assert!(kit.is_changed(api), "{api}");
            assert!(says_so || !kit.asked(api).contains(&known), "{api}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_at_the_leader_wherever_it_moves() {
    let Some(kit) = Kit::new(ApiKey::DELETE_RECORDS).await else { return };
    for (broker, offset) in [(2, 1), (3, 2), (1, 3)] {
        kit.cluster.move_leader(TOPIC, 0, broker).unwrap();
        assert_eq!(kit.log.delete_records(offset).await.unwrap(), offset);
        assert_eq!(kit.asked(ApiKey::DELETE_RECORDS).last(), Some(&broker));
        for replica in 1..=3 {
            assert_eq!(kit.cluster.log_at(TOPIC, 0, replica).unwrap().log_start_offset, offset);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_the_partition_may_have_deleted() {
    for code in
        [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::KAFKA_STORAGE_ERROR, ErrorCode::REQUEST_TIMED_OUT]
    {
        let Some(kit) = Kit::new(ApiKey::DELETE_RECORDS).await else { return };
        kit.cluster.inject(Fault::answer(code).after_applying().on(ApiKey::DELETE_RECORDS).always());
        let error = failure(TIMEOUT, kit.log.delete_records(2)).await;
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::Unknown), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_all_replicas_and_says_if_one_does_not_follow() {
    let Some(kit) = Kit::new(ApiKey::DELETE_RECORDS).await else { return };
    let follower = kit.cluster.leader(TOPIC, 0).unwrap().unwrap() % 3 + 1;
    kit.cluster.hold_replica(TOPIC, 0, follower).unwrap();
    let error = failure(TIMEOUT, kit.log.delete_records(2)).await;
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    kit.cluster.release_replica(TOPIC, 0, follower).unwrap();
    assert_eq!(kit.log.delete_records(2).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn records_of_another_topic_of_the_same_name_are_not_deleted() {
    let Some(kit) = Kit::new(ApiKey::DELETE_RECORDS).await else { return };
    kit.cluster.recreate_topic(TOPIC).unwrap();
    // Another client's: nothing tells the first one.
    let other = builder(&kit.cluster).build().await.unwrap();
    let second = other.partition_client(TOPIC, 0).await.unwrap();
    second.produce([record("of the second")]).await.unwrap();
    if has_topic_ids() {
        let error = kit.log.delete_records(None).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (&ErrorKind::TopicRecreated, Outcome::NotWritten),
            "{error:?}"
        );
        assert_eq!(kit.cluster.log(TOPIC, 0).unwrap().log_start_offset, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_is_refused_after_a_lost_answer_may_be_deleted_to() {
    let Some(kit) = Kit::new(ApiKey::DELETE_RECORDS).await else { return };
    kit.cluster.inject(Fault::close().after_applying().on(ApiKey::DELETE_RECORDS));
    kit.cluster.inject(Fault::answer(ErrorCode::OFFSET_OUT_OF_RANGE).on(ApiKey::DELETE_RECORDS));
    let error = kit.log.delete_records(7).await.unwrap_err();
    let expected = ErrorKind::OffsetOutOfRange { offset: 7, log_start: 0, log_end: 3 };
    assert_eq!((error.kind(), error.outcome()), (&expected, Outcome::Unknown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_cannot_be_is_refused_unsent() {
    let (cluster, client, log) = start(1).await;
    cluster.clear_requests();
    let create = |partitions, replicas| client.create_topic(SECOND, partitions, replicas);
    let none = [[0; 0]];
    let refused = [
        create(0, 1).await,
        create(-2, 1).await,
        create(1, 0).await,
        create(1, -2).await,
        create(-1, -1).replica_assignment(none).await,
        create(2, 1).replica_assignment([[1]]).await,
        create(1, 2).replica_assignment([[1]]).await,
        client.create_partitions(TOPIC, 0).await,
        client.alter_configs(TOPIC, &[]).await,
        log.delete_records(-1).await.map(drop),
    ];
    for (index, refused) in refused.into_iter().enumerate() {
        let error = refused.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{index}: {error:?}");
        assert_eq!(error.outcome(), Outcome::NotWritten);
        assert!(error.topic().is_some(), "{index}: {error:?}");
    }
    assert_eq!(cluster.requests(), []);
}

#[tokio::test(start_paused = true)]
async fn a_check_only_changes_nothing_whatever_becomes_of_its_answer() {
    let (cluster, client, _) = start(1).await;
    let check = || client.create_topic(SECOND, 1, 1).validate_only().into_future();
    cluster.inject(Fault::close().after_applying().on(ApiKey::CREATE_TOPICS));
    check().await.unwrap();
    assert!(cluster.topic_id(SECOND).is_err());
    cluster.inject(Fault::swallow().after_applying().on(ApiKey::CREATE_TOPICS).always());
    let error = failure(TIMEOUT, check()).await;
    assert_eq!((error.outcome(), error.is_timeout()), (Outcome::NotWritten, true), "{error:?}");
    assert!(cluster.topic_id(SECOND).is_err());
    // That another topic exists is no sign that a lost answer was a success.
    cluster.clear_faults();
    cluster.create_topic(SECOND, 1, 1).unwrap();
    cluster.inject(Fault::close().after_applying().on(ApiKey::CREATE_TOPICS));
    let error = check().await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::TOPIC_ALREADY_EXISTS), Outcome::NotWritten));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_brokers_do_not_know_may_be_new_for_a_second() {
    let (cluster, client, _) = start(3).await;
    let describe = async |api, topic: &'static str| match api {
        ApiKey::METADATA => client.describe_topic(topic).await.map(drop),
        _ => client.describe_configs(topic).await.map(drop),
    };
    for (api, late) in [(ApiKey::METADATA, "late"), (ApiKey::DESCRIBE_CONFIGS, "later")] {
        let started = Instant::now();
        let error = describe(api, late).await.unwrap_err();
        let said = (error.kind(), error.outcome(), error.topic());
        assert_eq!(said, (&ErrorKind::UnknownTopicOrPartition, Outcome::NotWritten, Some(late)), "{error:?}");
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_secs(1) && elapsed < Duration::from_secs(3), "{elapsed:?}");
        let other = cluster.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            other.create_topic(late, 1, 1).unwrap();
        });
        describe(api, late).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn added_partitions_are_waited_for() {
    for late in 1..3 {
        let (cluster, client, _) = start(1).await;
        let refusal = Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).partition(TOPIC, late);
        let asked = cluster.inject(refusal.on(ApiKey::LIST_OFFSETS).times(3));
        client.create_partitions(TOPIC, 3).await.unwrap();
        assert_eq!(cluster.struck(asked), 3, "partition {late} is not waited for");
    }
    let (cluster, client, _) = start(1).await;
    cluster.inject(Fault::swallow().on(ApiKey::LIST_OFFSETS).always());
    let error = failure(TIMEOUT, client.create_partitions(TOPIC, 3)).await;
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn topics_and_configs_that_may_not_be_seen_are_not_described() {
    let (cluster, client, _) = start(1).await;
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    for api in [ApiKey::METADATA, ApiKey::DESCRIBE_CONFIGS] {
        cluster.inject(Fault::answer(code).topic(TOPIC).on(api).always());
        let error = match api {
            ApiKey::METADATA => client.describe_topic(TOPIC).await.unwrap_err(),
            _ => client.describe_configs(TOPIC).await.unwrap_err(),
        };
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::NotWritten), "{error:?}");
        assert_eq!(error.topic(), Some(TOPIC));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_the_api_is_told_from_one_that_refuses() {
    for api in [ApiKey::INCREMENTAL_ALTER_CONFIGS, ApiKey::DELETE_RECORDS, ApiKey::CREATE_PARTITIONS] {
        let cluster = fake().without(api).in_memory().start().await.unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let client = builder(&cluster).build().await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        let kit = Kit { cluster, client, log };
        let error = kit.change(api).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (&ErrorKind::Unsupported, Outcome::NotWritten),
            "{error:?}"
        );
    }
}
