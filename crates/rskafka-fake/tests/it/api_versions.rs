//! ApiVersions, and requests that no broker takes.

use rskafka_fake::{ControlError, Profile};
use rskafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ApiKey, ErrorCode, decode_response, encode_request};

use crate::support::{RawClient, cluster, fake, needs, profile};

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1.0".to_owned(),
        ..Default::default()
    }
}

/// Each API with its lowest and highest version.
#[rustfmt::skip]
fn advertised(profile: Profile) -> Vec<(i16, i16, i16)> {
    match profile {
        Profile::Kafka2_8 => vec![
            (0, 0, 9), (1, 0, 12), (2, 0, 6), (3, 0, 11), (10, 0, 3), (17, 0, 1), (18, 0, 3), (19, 0, 7), (20, 0, 6),
            (21, 0, 2), (22, 0, 4), (23, 0, 4), (32, 0, 4), (36, 0, 2), (37, 0, 3), (44, 0, 1), (60, 0, 0), (61, 0, 0),
        ],
        Profile::Kafka3_9 => vec![
            (0, 0, 11), (1, 0, 17), (2, 0, 9), (3, 0, 12), (10, 0, 6), (17, 0, 1), (18, 0, 4), (19, 0, 7), (20, 0, 6),
            (21, 0, 2), (22, 0, 5), (23, 0, 4), (32, 0, 4), (36, 0, 2), (37, 0, 3), (44, 0, 1), (60, 0, 1), (61, 0, 0),
        ],
        Profile::Kafka4_4 => vec![
            (0, 0, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (10, 0, 6), (17, 0, 1), (18, 0, 5), (19, 2, 7), (20, 1, 6),
            (21, 0, 2), (22, 0, 5), (23, 2, 4), (32, 1, 4), (36, 0, 2), (37, 0, 3), (44, 0, 1), (60, 0, 2), (61, 0, 0),
        ],
        Profile::Redpanda => vec![
            (0, 0, 7), (1, 4, 11), (2, 0, 4), (3, 0, 8), (10, 0, 3), (17, 0, 1), (18, 0, 3), (19, 0, 6), (20, 0, 5),
            (21, 0, 2), (22, 0, 3), (23, 0, 4), (32, 0, 4), (36, 0, 2), (37, 0, 3), (44, 0, 1), (61, 0, 0),
        ],
        Profile::EventHubs => vec![
            (0, 0, 7), (1, 4, 6), (2, 0, 7), (3, 0, 5), (10, 0, 1), (17, 0, 1), (18, 0, 3), (19, 0, 3), (20, 0, 3),
            (22, 0, 1), (32, 0, 2), (36, 0, 1), (37, 0, 1),
        ],
        other => panic!("what does {other} advertise?"),
    }
}

/// The bytes of a request with another API key and version in its header, which is of the flexible form.
fn disguised(api_key: i16, version: i16) -> Vec<u8> {
    let mut bytes = encode_request(&request(), 4, 7, Some("raw")).unwrap().to_bytes().to_vec();
    bytes[4..6].copy_from_slice(&api_key.to_be_bytes());
    bytes[6..8].copy_from_slice(&version.to_be_bytes());
    bytes
}

#[tokio::test]
async fn every_version_names_the_apis_that_are_spoken() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    for version in client.versions::<ApiVersionsRequest>(0..=5) {
        let response = client.call(version, &request()).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        let entries: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        assert_eq!(entries, advertised(profile()), "version {version}");
    }
}

#[tokio::test]
async fn a_version_that_is_too_new_is_answered_in_version_0_and_the_connection_stays() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    client.send_bytes(&disguised(18, 99)).await;
    if profile() == Profile::EventHubs {
        assert!(client.is_closed().await, "it does not answer such a one");
        return;
    }
    let frame = client.frame().await.unwrap();
    let (header, response) = decode_response::<ApiVersionsResponse>(0, &frame).unwrap();
    assert_eq!((header.correlation_id, response.error_code), (7, ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!((response.api_keys.len(), response.api_keys[0].api_key), (1, 18));
    let newest = client.spoken::<ApiVersionsRequest>(5);
    assert_eq!((response.api_keys[0].min_version, response.api_keys[0].max_version), (0, newest));
    assert_eq!(client.call(4, &request()).await.error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn a_client_without_a_proper_name_gets_invalid_request() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    for name in ["", "two words", "-dash"] {
        let request = ApiVersionsRequest { client_software_name: name.to_owned(), ..request() };
        let response = client.call(3, &request).await;
        assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST, "{name:?}");
        assert_eq!(client.call(2, &request).await.error_code, ErrorCode::NONE, "{name:?}");
    }
}

#[tokio::test]
async fn a_client_that_means_another_broker_or_cluster_is_sent_back_to_its_bootstrap_addresses() {
    needs!(ApiVersionsRequest, 5, "its requests do not say which broker is meant");
    let cluster = cluster(2).await;
    let ours = cluster.cluster_id();
    let mut client = RawClient::pipe(&cluster, 2).await;
    for (cluster_id, node_id, code) in [
        (Some(&*ours), 2, ErrorCode::NONE),
        (Some(&*ours), 1, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some("another"), 2, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some(""), 2, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some(&*ours), -1, ErrorCode::INVALID_REQUEST),
        (Some("another"), -1, ErrorCode::INVALID_REQUEST),
        (None, 2, ErrorCode::INVALID_REQUEST),
        (None, -1, ErrorCode::NONE),
    ] {
        let request = ApiVersionsRequest { cluster_id: cluster_id.map(str::to_owned), node_id, ..request() };
        let answer = client.call(5, &request).await;
        assert_eq!(answer.error_code, code, "{cluster_id:?} {node_id}");
        assert_eq!(answer.api_keys.is_empty(), code != ErrorCode::NONE);
        // Versions below 5 have no field for it.
        assert_eq!(client.call(4, &request).await.error_code, ErrorCode::NONE);
    }
    let unnamed =
        ApiVersionsRequest { cluster_id: Some("another".to_owned()), node_id: 2, ..Default::default() };
    assert_eq!(client.call(5, &unnamed).await.error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test]
async fn what_kafka_does_not_take_ends_the_connection_without_an_answer() {
    let cluster = cluster(1).await;
    let cases = [
        ("unknown api", disguised(999, 0)),
        ("version too new", disguised(3, 99)),
        ("version too old", disguised(0, 2)),
        ("body that does not decode", disguised(0, 9)),
        ("empty frame", vec![0; 4]),
        ("negative length", vec![0xff; 4]),
        ("length above the limit", vec![0x7f, 0, 0, 0]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    for (case, bytes) in cases {
        let mut client = RawClient::pipe(&cluster, 1).await;
        client.send_bytes(&bytes).await;
        assert!(client.is_closed().await, "{case}");
    }
}

#[tokio::test]
async fn what_came_before_a_bad_request_is_answered() {
    let cluster = cluster(1).await;
    let mut client = RawClient::pipe(&cluster, 1).await;
    let id = client.send(4, &request()).await;
    client.send_bytes(&disguised(999, 0)).await;
    assert_eq!(client.receive::<ApiVersionsRequest>(4, id).await.error_code, ErrorCode::NONE);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn advertised_versions_are_the_ones_that_are_taken() {
    let builder = fake().in_memory().advertise(ApiKey::METADATA, 1..=8);
    let cluster = builder.without(ApiKey::DELETE_TOPICS).start().await.unwrap();
    let mut client = RawClient::unbound(&cluster, 1).await;
    let entries = client.call(0, &request()).await.api_keys;
    let metadata = entries.iter().find(|entry| entry.api_key == 3).unwrap();
    assert_eq!((metadata.min_version, metadata.max_version), (1, 8));
    assert!(entries.iter().all(|entry| entry.api_key != 20));
    client.call(8, &MetadataRequest::default()).await;
    client.send(9, &MetadataRequest::default()).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn settings_that_cannot_be_are_errors_of_start() {
    let builder = || fake().in_memory();
    for (builder, word) in [
        (builder().brokers(0), "0 brokers"),
        (builder().advertise(ApiKey::METADATA, 0..=99), "Metadata"),
        (builder().advertise(ApiKey(77), 0..=1), "77"),
        (builder().pipe_bytes(0), "pipe"),
    ] {
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, ControlError::InvalidSetting { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}
