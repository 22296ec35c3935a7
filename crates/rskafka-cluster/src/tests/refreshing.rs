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
