//! How often brokers are asked for metadata.

use rskafka_fake::Fault;

use super::*;

#[tokio::test(start_paused = true)]
async fn all_that_look_for_a_leader_at_once_share_one_request() {
    let (fake, cluster, _) = connected(fake(), 3).await;
    fake.inject(Fault::delay(millis(100)).on(ApiKey::METADATA).always());
    for _ in 0..3 {
        cluster.mark_stale(TOPIC);
        fake.clear_requests();
        let looks: Vec<_> = (0..50)
            .map(|_| {
                let cluster = cluster.clone();
                tokio::spawn(async move { cluster.route(LEADER, after(millis(5000))).await })
            })
            .collect();
        for look in looks {
            look.await.unwrap().unwrap();
        }
        assert_eq!(arrivals(&fake, ApiKey::METADATA).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_very_many_partitions_is_taken_in_on_a_runtime_of_several_threads() {
    // Beyond the size from which an answer is decoded beside others.
    const PARTITIONS: i32 = 6_000;
    let (fake, cluster, _) = connected(fake(), 1).await;
    let names = ["many", "more"];
    for name in names {
        fake.create_topic(name, PARTITIONS, 1).unwrap();
    }
    let topics = cluster.topics(after(millis(20_000))).await.unwrap();
    for name in names {
        let topic = topics.iter().find(|topic| topic.name == name).unwrap();
        assert_eq!(topic.partitions.len(), PARTITIONS as usize);
        assert!(topic.partitions.values().all(|partition| partition.leader == Some(1)));
    }
}
