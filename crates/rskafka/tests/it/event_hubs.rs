//! A broker that closes the connection on an ApiVersions request that is too new, as Azure Event Hubs does.

use rskafka::client::{OffsetAt, Tls};
use rskafka::protocol::ApiKey;
use rskafka_fake::{FakeCluster, FakeTls, Profile};
use tokio::time::Instant;

use super::common::{read_all, record, values};
use super::kit::{TOPIC, builder, close_connections};

/// The versions in which the cluster was asked for its versions, in order.
fn asked_in(cluster: &FakeCluster) -> Vec<i16> {
    let requests = cluster.requests().into_iter().filter(|request| request.api_key == ApiKey::API_VERSIONS);
    requests.map(|request| request.api_version).collect()
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_on_a_version_too_new_is_found_out_once() {
    for tls in [None, Some(FakeTls::new().unwrap())] {
        let fake = FakeCluster::builder().profile(Profile::EventHubs).in_memory();
        let fake = tls.iter().fold(fake, |fake, tls| fake.tls(tls.clone()));
        let cluster = fake.start().await.unwrap();
        let client = builder(&cluster);
        let client = match &tls {
            Some(tls) => client.tls(Tls::ca_pem(tls.ca_pem()).unwrap()),
            None => client,
        };
        let started = Instant::now();
        let client = client.build().await.unwrap();
        client.create_topic(TOPIC, 1, 1).await.unwrap();
        let log = client.partition_client(TOPIC, 0).await.unwrap();
        log.produce([record("one")]).await.unwrap();
        assert_eq!(values(&read_all(&log).await), ["one"]);
        assert_eq!(log.get_offset(OffsetAt::Latest).await.unwrap().offset, 1);
        assert!(started.elapsed().as_millis() < 100, "{:?}", started.elapsed());
        // The first of three connections costs two.
        assert_eq!(asked_in(&cluster), [5, 3, 3, 3]);

        // Also for those that come later.
        close_connections(&cluster, 1).await;
        log.produce([record("two")]).await.unwrap();
        assert_eq!(asked_in(&cluster), [5, 3, 3, 3, 3]);
    }
}
