//! One request at a time per connection, and the record of what arrived when.

use std::time::Duration;

use rskafka_protocol::ApiKey;
use rskafka_protocol::messages::fetch::FetchRequest;
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::messages::produce::ProduceRequest;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_long_poll_delays_what_is_behind_it_on_the_same_connection_only() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let start = Instant::now();
    let poll = FetchRequest { max_wait_ms: 5000, ..fetch_request(&topic, 0, 0) };
    let poll_id = client.send(12, &poll).await;
    let append = client.send(9, &produce_request(&topic, 0, -1, Some(batch(["late"])))).await;

    let mut other = RawClient::pipe(&cluster, 1).await;
    let requests = cluster.requests_like(2, |request| request.connection == 0).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((requests[0].api_key, requests[1].api_key), (ApiKey::FETCH, ApiKey::PRODUCE));
    assert_eq!((requests[0].correlation_id, requests[1].correlation_id), (poll_id, append));
    assert!(requests[0].answered.is_none(), "both have arrived before the first answer");
    assert!(requests[1].taken.is_none(), "and the second is not even looked at");
    other.call(9, &MetadataRequest::default()).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "another connection does not wait");

    let polled = fetched(client.receive::<FetchRequest>(12, poll_id).await);
    assert_eq!((start.elapsed(), records(&polled).len()), (Duration::from_secs(5), 0));
    client.receive::<ProduceRequest>(9, append).await;
    let requests = cluster.requests_like(2, |request| request.connection == 0).await;
    assert_eq!(requests[1].arrived, start);
    assert_eq!(requests[1].taken, Some(start + Duration::from_secs(5)));
    assert!(requests[1].answered.is_some());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let request = produce_request(&topic, 0, -1, Some(batch([n.to_string()])));
        ids.push(client.send(9, &request).await);
    }
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(produced(client.receive::<ProduceRequest>(9, id).await).base_offset, n as i64);
    }
    let values = cluster.log("t", 0).unwrap().values().unwrap();
    assert!(values.iter().enumerate().all(|(n, value)| value == &n.to_string()));
}

#[tokio::test]
async fn the_record_of_requests_keeps_the_newest_and_can_be_cleared() {
    let builder = fake().in_memory().recorded_requests(3);
    let cluster = builder.start().await.unwrap();
    let mut client = RawClient::pipe(&cluster, 1).await;
    for _ in 0..5 {
        client.call(5, &MetadataRequest::default()).await;
    }
    let requests = cluster.requests();
    assert_eq!(requests.iter().map(|request| request.sequence).collect::<Vec<_>>(), [2, 3, 4]);
    let newest = requests.last().unwrap();
    assert_eq!((newest.broker, newest.api_version, newest.client_id.as_deref()), (1, 5, Some("raw")));
    assert!(newest.answered.is_some());
    cluster.clear_requests();
    assert!(cluster.requests().is_empty());
    client.call(9, &MetadataRequest::default()).await;
    assert_eq!(cluster.requests()[0].sequence, 5);
    assert!(cluster.requests()[0].answered.is_some());
}
