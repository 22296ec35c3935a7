//! Faults on command.

use std::time::Duration;

use bytes::Bytes;
use rskafka_fake::{FakeCluster, Fault, Rewritten};
use rskafka_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use rskafka_protocol::messages::produce::ProduceRequest;
use rskafka_protocol::{ApiKey, ErrorCode, ResponseHeader, decode_response};
use tokio::time::Instant;

use crate::support::*;

async fn with_topic() -> (FakeCluster, TopicName, RawClient) {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 2, 1).unwrap();
    let client = RawClient::pipe(&cluster, 1).await;
    let topic = topic(&cluster, "t");
    (cluster, topic, client)
}

fn end(cluster: &FakeCluster) -> i64 {
    cluster.log("t", 0).unwrap().high_watermark
}

#[tokio::test]
async fn a_request_is_answered_with_a_code_as_often_as_said_and_by_default_not_applied() {
    let (cluster, topic, mut client) = with_topic().await;
    let fault = Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).partition("t", 0);
    let fault = cluster.inject(fault.times(2));
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(produce(&mut client, &topic, 0, batch(["a"])).await.error_code);
    }
    let refused = ErrorCode::NOT_ENOUGH_REPLICAS;
    assert_eq!(codes, [refused, refused, ErrorCode::NONE]);
    assert_eq!((cluster.struck(fault), end(&cluster)), (2, 1));
}

#[tokio::test]
async fn an_error_may_come_after_the_append() {
    let (cluster, topic, mut client) = with_topic().await;
    cluster.inject(Fault::answer(ErrorCode::REQUEST_TIMED_OUT).after_applying());
    let answer = produce(&mut client, &topic, 0, batch(["a"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::REQUEST_TIMED_OUT, -1));
    assert_eq!(end(&cluster), 1);
}

#[tokio::test]
async fn every_api_can_answer_a_code() {
    let (cluster, topic, mut client) = with_topic().await;
    let code = ErrorCode::KAFKA_STORAGE_ERROR;
    cluster.inject(Fault::answer(code).topic("t").always());
    assert_eq!(produce(&mut client, &topic, 0, batch(["a"])).await.error_code, code);
    assert_eq!(fetch(&mut client, &topic, 0, 0).await.error_code, code);
    let by_id = fetched(client.call(13, &fetch_request(&topic, 0, 0)).await);
    assert_eq!(by_id.error_code, code, "a topic is known by its id too");
    cluster.clear_faults();
    cluster.inject(Fault::answer(code).on(ApiKey::METADATA));
    let said = if client.spoken::<MetadataRequest>(13) >= 13 { code } else { ErrorCode::NONE };
    assert_eq!(client.call(13, &MetadataRequest::default()).await.error_code, said);
    assert_eq!(client.call(13, &MetadataRequest::default()).await.error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn a_swallowed_request_has_no_answer_and_the_next_one_has() {
    for (fault, written) in [(Fault::swallow(), 0), (Fault::swallow().after_applying(), 1)] {
        let (cluster, topic, mut client) = with_topic().await;
        cluster.inject(fault.on(ApiKey::PRODUCE));
        client.send(9, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
        client.call(9, &MetadataRequest::default()).await;
        assert_eq!(end(&cluster), written);
    }
}

#[tokio::test]
async fn a_connection_closes_before_or_after_the_append() {
    for (fault, written) in [(Fault::close(), 0), (Fault::close().after_applying(), 1)] {
        let (cluster, topic, mut client) = with_topic().await;
        cluster.inject(fault);
        client.send(9, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
        assert!(client.is_closed().await);
        assert_eq!(end(&cluster), written);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_keeps_its_connection_busy_and_no_other() {
    let (cluster, topic, mut client) = with_topic().await;
    cluster.inject(Fault::delay(Duration::from_secs(7)).on(ApiKey::PRODUCE));
    let start = Instant::now();
    let append = client.send(9, &produce_request(&topic, 0, -1, Some(batch(["a"])))).await;
    let probe = client.send(9, &MetadataRequest::default()).await;
    let mut other = RawClient::pipe(&cluster, 1).await;
    assert_eq!(produce(&mut other, &topic, 0, batch(["b"])).await.base_offset, 1, "it is applied at once");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(produced(client.receive::<ProduceRequest>(9, append).await).base_offset, 0);
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    client.receive::<MetadataRequest>(9, probe).await;
}

#[tokio::test]
async fn answers_are_changed_on_their_way() {
    const VERSION: i16 = 5;
    let (cluster, _, mut client) = with_topic().await;
    let request = MetadataRequest::default();
    let id = client.send(VERSION, &request).await;
    let truth = client.frame().await.unwrap();
    let decodes = |frame: &Bytes| decode_response::<MetadataResponse>(VERSION, frame).is_ok();
    assert!(decodes(&truth));

    cluster.inject(Fault::wrong_correlation_id(1000));
    let sent = client.send(VERSION, &request).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(ResponseHeader::peek_correlation_id(&frame), Some(sent + 1000));
    assert!(sent > id);

    cluster.inject(Fault::shorten(3));
    client.send(VERSION, &request).await;
    let frame = client.frame().await.unwrap();
    assert_eq!((frame.len(), decodes(&frame)), (truth.len() - 3, false));

    cluster.inject(Fault::lengthen("more"));
    client.send(VERSION, &request).await;
    let frame = client.frame().await.unwrap();
    assert_eq!((&frame[truth.len()..], decodes(&frame)), (&b"more"[..], true));

    cluster.inject(Fault::flip(4 + 9, 0x80));
    client.send(VERSION, &request).await;
    let frame = client.frame().await.unwrap();
    assert_eq!((frame.len(), frame[9]), (truth.len(), truth[9] ^ 0x80));

    cluster.inject(Fault::cut_at(10));
    client.send(VERSION, &request).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_server_may_speak_another_protocol() {
    let cluster = cluster(1).await;
    cluster.inject(Fault::raw("HTTP/1.1 400 Bad Request\r\n\r\n").delayed_by(Duration::ZERO));
    let mut stream = cluster.connect("broker-1", 9092).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = rskafka_protocol::encode_request(&MetadataRequest::default(), 1, 1, None).unwrap();
    stream.write_all(&request.to_bytes()).await.unwrap();
    let mut answer = [0; 28];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"));
}

#[tokio::test]
async fn a_fault_strikes_only_what_it_is_narrowed_to() {
    let cluster = cluster(2).await;
    cluster.create_topic("t", 2, 2).unwrap();
    let topic = topic(&cluster, "t");
    cluster.move_leader("t", 0, 1).unwrap();
    cluster.move_leader("t", 1, 1).unwrap();
    let code = ErrorCode::CORRUPT_MESSAGE;
    let second = cluster.inject(Fault::answer(code).partition("t", 1).skip(1));
    let elsewhere = cluster.inject(Fault::answer(code).at_broker(2).always());
    let other_topic = cluster.inject(Fault::answer(code).topic("u").always());
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut codes = Vec::new();
    for partition in [0, 1, 0, 1, 1] {
        codes.push(produce(&mut client, &topic, partition, batch(["a"])).await.error_code == code);
    }
    assert_eq!(codes, [false, false, false, true, false]);
    assert_eq!([second, elsewhere, other_topic].map(|fault| cluster.struck(fault)), [1, 0, 0]);
    cluster.remove_fault(elsewhere);
    let mut client = RawClient::pipe(&cluster, 2).await;
    client.call(9, &MetadataRequest::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_request_is_served_as_the_test_has_it_and_answered_likewise() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let twice = |_: &_, body: &Bytes| Rewritten {
        bodies: vec![body.clone(), body.clone()],
        answer: Box::new(|answer| answer),
    };
    let unserved = |_: &_, _: &_| Rewritten {
        bodies: Vec::new(),
        answer: Box::new(|answer| {
            assert!(answer.is_none());
            Some(Bytes::from_static(&[0, 0, 0, 4, 0, 0, 0, 7]))
        }),
    };
    let rewritten = cluster.inject(Fault::rewrite(twice).on(ApiKey::PRODUCE));
    let mut client = RawClient::pipe(&cluster, 1).await;
    let answer = client.call(9, &produce_request(&topic, 0, -1, Some(batch(["x"])))).await;
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0, "the first one's answer");
    assert_eq!(cluster.log("t", 0).unwrap().values().unwrap(), ["x", "x"]);
    assert_eq!(cluster.struck(rewritten), 1);

    cluster.inject(Fault::rewrite(unserved).on(ApiKey::PRODUCE));
    client.send(9, &produce_request(&topic, 0, -1, Some(batch(["y"])))).await;
    assert_eq!(client.frame().await.unwrap()[..], [0, 0, 0, 7]);
    assert_eq!(cluster.log("t", 0).unwrap().end_offset, 2, "it was not served");
}
