//! Requests to a broker that is chosen by something else than what it leads.

use rskafka_protocol::messages::create_partitions::CreatePartitionsRequest;

use super::*;

/// Which broker a request to `node` goes to.
async fn asked(cluster: &Cluster, node: Node, time: u64) -> Result<i32, Failed> {
    let deadline = after(millis(time));
    let call = Call { target: node, via: Via::Control, deadline };
    let judge = |answer: Answer<'_, CreatePartitionsResponse, Broker>| Ok(answer.route.id);
    cluster.send(call, |_, _| (CreatePartitionsRequest::default(), CallOptions::new(deadline)), judge).await
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_given_broker_goes_there_and_waits_for_it_while_it_is_away() {
    let (fake, cluster, _) = connected(fake(), 3).await;
    for id in 1..=3 {
        assert_eq!(asked(&cluster, Node::Id(id), 5000).await.unwrap(), id);
    }
    fake.stop_broker(2).await.unwrap();
    let error = asked(&cluster, Node::Id(2), 3000).await.unwrap_err();
    assert!(error.attempts.out_of_time && error.failure.is_transient(), "{error:?}");
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { asked(&cluster, Node::Id(2), 8000).await }
    });
    tokio::time::sleep(millis(1000)).await;
    fake.start_broker(2).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_moved_is_found_at_its_new_address() {
    let (fake, cluster, net) = connected(fake(), 2).await;
    net.lead("moved", &fake, "broker-2");
    assert_eq!(asked(&cluster, Node::Id(2), 5000).await.unwrap(), 2);
    fake.advertise_address(2, "moved", 9092).unwrap();
    net.lead("broker-2", &fake, "broker-1");
    fake.cut_connections(2).unwrap();
    assert_eq!(asked(&cluster, Node::Id(2), 5000).await.unwrap(), 2);
    assert!(net.dialled().contains(&"moved".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_any_broker_goes_over_an_open_connection_and_passes_over_one_that_cannot_be_reached() {
    let (fake, cluster, net) = connected(fake(), 3).await;
    for _ in 0..10 {
        asked(&cluster, Node::Any, 5000).await.unwrap();
    }
    assert_eq!(net.dialled(), [""; 0]);
    fake.miss_crashes_after(Duration::from_secs(3600));
    for id in [1, 2] {
        fake.stop_broker(id).await.unwrap();
    }
    for _ in 0..10 {
        fake.cut_connections(3).unwrap();
        assert_eq!(asked(&cluster, Node::Any, 5000).await.unwrap(), 3);
    }
}
