//! What a topic lacks to be a write-ahead log is found, whichever broker has it and whatever it does not tell.

use std::time::Duration;

use bytes::Bytes;
use rskafka::client::error::{Error, ErrorKind};
use rskafka::client::{Client, DurabilityFinding, DurabilityKind as Kind, Severity};
use rskafka::protocol::messages::describe_configs::DescribeConfigsResponse;
use rskafka::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, SET,
};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::wal::Position;
use rskafka_fake::{FakeCluster, Fault, Profile};

use super::common::{exclusive, raw};
use super::kit::{TIMEOUT, TOPIC, builder, fake, profile};
use super::relay::{Asked, change, env_meddling};

type Configs = &'static [(&'static str, &'static str)];

/// The configs of a topic that lacks nothing.
const GOOD: [(&str, &str); 6] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
    ("min.insync.replicas", "2"),
    ("message.timestamp.type", "CreateTime"),
];

async fn cluster(
    replicas: i16,
    configs: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> FakeCluster {
    let cluster = fake().brokers(3).in_memory().start().await.unwrap();
    // Raft needs no such config, and Redpanda does not name it.
    let is_known = |(name, _): &(&str, &str)| profile() != Profile::Redpanda || !name.starts_with("unclean");
    let configs = GOOD.into_iter().chain(configs).filter(is_known);
    cluster.create_topic_with(TOPIC, 2, replicas, configs).unwrap();
    cluster
}

/// The findings, without the one that Redpanda always gives.
fn known(found: Vec<DurabilityFinding>) -> Vec<DurabilityFinding> {
    let is_known = |finding: &DurabilityFinding| !finding.setting.starts_with("unclean");
    let is_redpanda = profile() == Profile::Redpanda;
    assert!(!is_redpanda || found.iter().any(|finding| finding.kind == Kind::NotTold), "{found:?}");
    found.into_iter().filter(|finding| !is_redpanda || is_known(finding)).collect()
}

async fn check(cluster: &FakeCluster) -> Vec<DurabilityFinding> {
    let client = builder(cluster).build().await.unwrap();
    known(client.check_durability(TOPIC).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_setting_is_looked_at_by_itself() {
    use Severity::{AcknowledgedRecords, Appends, OldRecords};
    assert_eq!(check(&cluster(3, []).await).await, []);
    let cases: [(Configs, Kind, Severity); 9] = [
        (&[("min.insync.replicas", "1")], Kind::MinInsyncTooLow, AcknowledgedRecords),
        (&[("min.insync.replicas", "3")], Kind::MinInsyncTooHigh, Appends),
        (&[("unclean.leader.election.enable", "true")], Kind::UncleanElection, AcknowledgedRecords),
        (&[("cleanup.policy", "compact")], Kind::Compaction, OldRecords),
        (&[("retention.bytes", "0")], Kind::RetentionBytes, OldRecords),
        (
            &[("retention.ms", "1"), ("message.timestamp.type", "LogAppendTime")],
            Kind::RetentionMs,
            OldRecords,
        ),
        (&[("max.decompressed.message.bytes", "1000")], Kind::Decompressed, Appends),
        // Compaction alone looks at neither.
        (&[("cleanup.policy", "compact"), ("retention.ms", "1")], Kind::Compaction, OldRecords),
        (&[("cleanup.policy", "compact"), ("retention.bytes", "1")], Kind::Compaction, OldRecords),
    ];
    for (configs, kind, severity) in cases {
        let is_of_4 = kind == Kind::Decompressed;
        if is_of_4 && matches!(profile(), Profile::Kafka2_8 | Profile::Kafka3_9)
            || profile() == Profile::Redpanda && kind == Kind::UncleanElection
        {
            continue;
        }
        let found = check(&cluster(3, configs.iter().copied()).await).await;
        let [finding] = &found[..] else { panic!("{configs:?}: {found:?}") };
        assert_eq!((finding.kind, finding.severity), (kind, severity));
        assert_eq!((finding.setting, finding.value.as_str()), configs[0]);
        assert_eq!(finding.brokers, [1, 2, 3]);
        let text = finding.to_string();
        let line =
            format!("{} is {} at brokers [1, 2, 3] (at risk: {severity:?}); ", configs[0].0, configs[0].1);
        assert!(text.starts_with(&line) && text.len() > line.len() && !text.contains('\n'), "{text}");
    }
    let found = check(&cluster(3, [("retention.ms", "1")]).await).await;
    let kinds: Vec<_> = found.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::RetentionMs, Kind::WritersTimes]);
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_are_found_in_any_partition() {
    for (replicas, kind) in [(1, Kind::OneReplica), (2, Kind::TwoReplicas)] {
        let found = check(&cluster(replicas, []).await).await;
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!((finding.kind, finding.value.as_str()), (kind, replicas.to_string().as_str()));
    }
    let cluster = cluster(3, []).await;
    let client = builder(&cluster).build().await.unwrap();
    client.create_topic("uneven", 2, 3).for_log().await.unwrap();
    let odd = client.create_topic("odd", -1, -1).replica_assignment([vec![1, 2, 3], vec![2]]).for_log();
    if odd.config("min.insync.replicas", "2").await.is_ok() {
        let found = known(client.check_durability("odd").await.unwrap());
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::OneReplica]);
        for (partition, is_refused) in [(0, false), (1, true)] {
            let wal = client.wal("odd", partition).accept_risks([Kind::NotTold]).await.unwrap();
            let error = wal.claim(Position::START, "x").await.err();
            assert_eq!(error.as_ref().map(Error::kind), is_refused.then_some(&ErrorKind::NotDurable));
        }
    }
}

/// Gives one broker another value than the others, for topics that have none of their own.
async fn set_at(cluster: &FakeCluster, broker: i32, name: &str, value: &str) {
    let config_operation = SET;
    let change = AlterableConfig { name: name.to_owned(), config_operation, value: Some(value.to_owned()) };
    let resource =
        AlterConfigsResource { resource_type: 4, resource_name: broker.to_string(), configs: vec![change] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let address = cluster.bootstrap_servers()[broker as usize - 1].parse().unwrap();
    let answer = raw::call(&raw::connect(address).await, &request).await;
    assert_eq!(answer.responses[0].error_code, ErrorCode::NONE, "{answer:?}");
}

#[tokio::test]
async fn a_broker_with_another_default_than_the_others_is_found() {
    if matches!(profile(), Profile::Redpanda | Profile::EventHubs) {
        return;
    }
    let cluster = fake().brokers(3).start().await.unwrap();
    let configs = GOOD.into_iter().filter(|(name, _)| !name.starts_with("unclean"));
    cluster.create_topic_with(TOPIC, 2, 3, configs).unwrap();
    set_at(&cluster, 2, "unclean.leader.election.enable", "true").await;
    let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
    let found = client.check_durability(TOPIC).await.unwrap();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.kind, &finding.brokers[..]), (Kind::UncleanElection, &[2][..]));

    // If that one does not answer, nobody knows its default, and the others' say nothing of it.
    cluster.inject(Fault::swallow().on(ApiKey::DESCRIBE_CONFIGS).at_broker(2).always());
    let found = client.check_durability(TOPIC).await.unwrap();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.kind, &finding.brokers[..]), (Kind::NotTold, &[2][..]));
    let wal = client.wal(TOPIC, 0).await.unwrap();
    assert_eq!(wal.claim(Position::START, "x").await.unwrap_err().kind(), &ErrorKind::NotDurable);
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_may_not_tell_is_never_fine() {
    let is = |kind: Kind, found: Vec<DurabilityFinding>, brokers: &[i32], why: &str| {
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!((finding.kind, finding.severity), (kind, Severity::NotChecked));
        assert_eq!(finding.brokers, brokers);
        assert!(finding.value.contains(why), "{finding}");
    };
    let refused = Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::DESCRIBE_CONFIGS).always();
    let one = cluster(3, []).await;
    one.inject(refused.clone().at_broker(2));
    is(Kind::NotTold, check(&one).await, &[2], "TOPIC_AUTHORIZATION_FAILED");
    let all = cluster(3, []).await;
    all.inject(refused);
    let found = builder(&all).build().await.unwrap().check_durability(TOPIC).await.unwrap();
    is(Kind::NotTold, found, &[1, 2, 3], "TOPIC_AUTHORIZATION_FAILED");
    // One that hangs, or does not run, leaves time for the others.
    let hangs = cluster(3, []).await;
    hangs.inject(Fault::swallow().on(ApiKey::DESCRIBE_CONFIGS).at_broker(1).always());
    let started = tokio::time::Instant::now();
    is(Kind::NoAnswer, check(&hangs).await, &[1], "no time left");
    assert!(started.elapsed() <= TIMEOUT, "{:?}", started.elapsed());
    let stopped = cluster(3, []).await;
    stopped.stop_broker(3).await.unwrap();
    is(Kind::NoAnswer, check(&stopped).await, &[3], "");
    // The only one has all the time.
    let slow = cluster(3, []).await;
    let patient =
        builder(&slow).api_timeout(Duration::from_secs(60)).request_timeout(Duration::from_secs(60));
    let client = patient.build().await.unwrap();
    client.create_topic("one", 1, 1).for_log().await.unwrap();
    slow.inject(Fault::delay(Duration::from_secs(10)).on(ApiKey::DESCRIBE_CONFIGS).always());
    let found = known(client.check_durability("one").await.unwrap());
    let kinds: Vec<_> = found.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&Kind::OneReplica) && !kinds.contains(&Kind::NoAnswer), "{found:?}");
    let none = cluster(3, []).await;
    none.inject(Fault::swallow().on(ApiKey::DESCRIBE_CONFIGS).always());
    let error = builder(&none).build().await.unwrap().check_durability(TOPIC).await.unwrap_err();
    assert!(error.is_timeout() && error.is_retriable(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_claimed_while_one_broker_is_down_or_does_not_answer() {
    for is_down in [false, true] {
        let cluster = cluster(3, []).await;
        let leader = cluster.leader(TOPIC, 0).unwrap().unwrap();
        if is_down {
            cluster.stop_broker(leader).await.unwrap();
        } else {
            cluster.inject(Fault::swallow().on(ApiKey::DESCRIBE_CONFIGS).at_broker(leader).always());
        }
        let client = builder(&cluster).api_timeout(Duration::from_secs(60)).build().await.unwrap();
        // What Redpanda does not tell.
        let wal = client.wal(TOPIC, 0).accept_risks([Kind::NotTold]).await.unwrap();
        let asked = || {
            let requests = cluster.requests().into_iter();
            requests.filter(|request| request.api_key == ApiKey::DESCRIBE_CONFIGS).count()
        };
        for note in ["first", "second"] {
            let (started, before) = (tokio::time::Instant::now(), asked());
            let (writer, _) = exclusive::claim(&wal, Position::START, note).await;
            assert_eq!(writer.claim().note, note);
            assert!(started.elapsed() <= Duration::from_secs(4), "{:?}", started.elapsed());
            assert!(asked() > before, "what is not known is asked for again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_a_broker_leaves_out_or_garbles_is_never_fine() {
    for (left_out, _) in GOOD {
        if profile() == Profile::Redpanda && left_out.starts_with("unclean") {
            continue;
        }
        for garbled in [None, Some("")] {
            if garbled.is_some()
                && !matches!(left_out, "retention.ms" | "retention.bytes" | "min.insync.replicas")
            {
                continue;
            }
            let cluster = cluster(3, []).await;
            let meddle = move |asked: &Asked, frame: Bytes| {
                if asked.api != ApiKey::DESCRIBE_CONFIGS || !asked.host.ends_with('1') {
                    return frame;
                }
                change(asked, &frame, |answer: &mut DescribeConfigsResponse| {
                    let configs = &mut answer.results[0].configs;
                    match garbled {
                        None => configs.retain(|config| config.name != left_out),
                        Some(text) => {
                            let mut found = configs.iter_mut().filter(|config| config.name == left_out);
                            found.next().unwrap().value = Some(text.to_owned());
                        }
                    }
                })
            };
            let client = builder(&cluster).env(env_meddling(&cluster, meddle).build()).build().await.unwrap();
            let found = known(client.check_durability(TOPIC).await.unwrap());
            let [finding] = &found[..] else { panic!("{left_out}: {found:?}") };
            assert_eq!((finding.kind, finding.setting), (Kind::NotTold, left_out));
            assert_eq!(finding.brokers, [1]);
        }
    }
}
