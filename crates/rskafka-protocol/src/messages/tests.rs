//! Round trips: whatever a version can carry comes back as it went in, and no bytes make a decoder panic.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::Encoder;
use crate::schema::layout_of;
use crate::wire::{Choices, Wire};

fn round_trip<M: Message + Wire>() {
    for version in M::VERSIONS.iter() {
        let layout = layout_of::<M>(version);
        let message = |seed, limit| M::arbitrary(layout, &mut Choices::new(seed, limit));
        let of_choices: Check<(u64, usize)> =
            &|(seed, limit)| comes_back(message(seed, limit), version, <M as Wire>::min_size(layout));
        let of_bytes: Check<Vec<u8>> = &|bytes| {
            let _ = M::decode(version, &Bytes::from(bytes));
            Ok(())
        };
        let outcome = hold(&(any::<u64>(), 0..2_000usize), of_choices);
        let outcome = outcome.and_then(|()| hold(&any::<Vec<u8>>(), of_bytes));
        outcome.unwrap_or_else(|error| panic!("{} version {version}: {error}", M::NAME));
    }
    for version in [M::VERSIONS.min - 1, M::VERSIONS.max + 1] {
        assert!(M::default().encode(version, &mut Encoder::new()).is_err());
        assert!(M::decode(version, &Bytes::new()).is_err());
    }
}

/// What is to hold of one input.
type Check<'a, T> = &'a dyn Fn(T) -> Result<(), TestCaseError>;

/// Compiled once, not once for each message.
fn hold<S: Strategy>(inputs: &S, check: Check<'_, S::Value>) -> Result<(), String> {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    runner.run(inputs, check).map_err(|error| error.to_string())
}

fn comes_back<M: Message>(message: M, version: i16, min_size: usize) -> Result<(), TestCaseError> {
    let bytes = encode(&message, version);
    prop_assert!(bytes.len() >= min_size, "{:?}", message);
    for end in 0..bytes.len().min(200) {
        prop_assert!(M::decode(version, &bytes.slice(..end)).is_err(), "cut at {}: {:?}", end, message);
    }
    for surplus in [&[0][..], &[0xff; 3]] {
        let longer = Bytes::from([&bytes, surplus].concat());
        prop_assert_eq!(&M::decode(version, &longer).unwrap(), &message);
        let decoded = M::decode_with_surplus(version, &longer).unwrap();
        prop_assert_eq!(decoded, (message.clone(), surplus.len()));
    }
    prop_assert_eq!(M::decode_with_surplus(version, &bytes).unwrap(), (message, 0));
    Ok(())
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut out = Encoder::new();
    message.encode(version, &mut out).unwrap();
    let length = out.len();
    let bytes = out.into_bytes();
    assert_eq!(bytes.len(), length);
    bytes
}

/// Given requests, tries them and their responses.
macro_rules! round_trips {
    ($($test:ident: $request:path;)*) => {
        $(
            #[test]
            fn $test() {
                round_trip::<$request>();
                round_trip::<<$request as Request>::Response>();
            }
        )*

        #[test]
        fn every_message_makes_a_round_trip() {
            assert_eq!([$(<$request as Message>::API_KEY),*].as_slice(), ApiKey::ALL);
        }
    };
}

round_trips! {
    produce_round_trips: produce::ProduceRequest;
    fetch_round_trips: fetch::FetchRequest;
    list_offsets_round_trips: list_offsets::ListOffsetsRequest;
    metadata_round_trips: metadata::MetadataRequest;
    find_coordinator_round_trips: find_coordinator::FindCoordinatorRequest;
    sasl_handshake_round_trips: sasl_handshake::SaslHandshakeRequest;
    api_versions_round_trips: api_versions::ApiVersionsRequest;
    create_topics_round_trips: create_topics::CreateTopicsRequest;
    delete_topics_round_trips: delete_topics::DeleteTopicsRequest;
    delete_records_round_trips: delete_records::DeleteRecordsRequest;
    init_producer_id_round_trips: init_producer_id::InitProducerIdRequest;
    offset_for_leader_epoch_round_trips: offset_for_leader_epoch::OffsetForLeaderEpochRequest;
    describe_configs_round_trips: describe_configs::DescribeConfigsRequest;
    sasl_authenticate_round_trips: sasl_authenticate::SaslAuthenticateRequest;
    create_partitions_round_trips: create_partitions::CreatePartitionsRequest;
    incremental_alter_configs_round_trips: incremental_alter_configs::IncrementalAlterConfigsRequest;
    describe_cluster_round_trips: describe_cluster::DescribeClusterRequest;
    describe_producers_round_trips: describe_producers::DescribeProducersRequest;
}

#[test]
fn a_set_field_that_a_version_lacks_is_an_error_unless_it_may_be_dropped() {
    let request =
        delete_topics::DeleteTopicsRequest { topics: vec![Default::default()], ..Default::default() };
    let error = request.encode(5, &mut Encoder::new()).unwrap_err();
    assert_eq!(error, crate::EncodeError::NotInVersion { field: "topics", version: 5 });
    let request =
        delete_topics::DeleteTopicsRequest { topic_names: vec!["dropped".to_owned()], ..Default::default() };
    assert_eq!(request.encode(6, &mut Encoder::new()), Ok(()));
}

#[test]
fn null_is_refused_before_the_version_that_allows_it() {
    let topic = metadata::MetadataRequestTopic { name: None, ..Default::default() };
    let request = metadata::MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let error = request.encode(9, &mut Encoder::new()).unwrap_err();
    assert_eq!(error, crate::EncodeError::UnexpectedNull { field: "name", version: 9 });
    let bytes = encode(&request, 12);
    let error = metadata::MetadataRequest::decode(9, &bytes).unwrap_err();
    assert!(error.path.starts_with("topics[0]"), "{error}");
}

#[test]
fn errors_name_message_version_path_and_offset() {
    let response = produce::ProduceResponse {
        responses: vec![produce::TopicProduceResponse {
            name: "t".to_owned(),
            partition_responses: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let bytes = encode(&response, 9);
    // One array length, name, array length and index, then half of the error code.
    let error = produce::ProduceResponse::decode(9, &bytes.slice(..9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot decode ProduceResponse version 9 at responses[0].partition_responses (byte 3): invalid length 1"
    );
    // The length of the refused records, after index, code and three offsets.
    let mut claimed = bytes.to_vec();
    claimed[34] = 0x7f;
    let error = produce::ProduceResponse::decode(9, &claimed.into()).unwrap_err();
    assert_eq!(error.path, "responses[0].partition_responses[0].record_errors");
    assert_eq!((error.message, error.version, error.offset), ("ProduceResponse", 9, 34));
}

#[test]
fn the_offset_of_an_error_in_a_response_counts_its_header() {
    let response = delete_records::DeleteRecordsResponse::default();
    let body = encode(&response, 2);
    let cut = body.slice(..body.len() - 1);
    let error = delete_records::DeleteRecordsResponse::decode(2, &cut).unwrap_err();
    assert_eq!((error.kind, error.offset), (crate::DecodeErrorKind::Truncated, cut.len()));

    let frame = crate::encode_response(&response, 2, 1).unwrap().to_bytes().slice(4..);
    let cut = frame.slice(..frame.len() - 1);
    let error = crate::decode_response::<delete_records::DeleteRecordsResponse>(2, &cut).unwrap_err();
    assert_eq!(error.offset, cut.len());
}

#[test]
fn bytes_behind_a_response_are_counted_and_passed_over() {
    let response = delete_records::DeleteRecordsResponse::default();
    let frame = crate::encode_response(&response, 2, 1).unwrap().to_bytes().slice(4..);
    let longer = Bytes::from([&frame[..], &[7; 3]].concat());
    let header = crate::ResponseHeader { correlation_id: 1 };
    assert_eq!(crate::decode_response(2, &longer), Ok((header.clone(), response.clone())));
    assert_eq!(crate::decode_response_with_surplus(2, &longer), Ok((header, response, 3)));
}

#[test]
fn a_string_that_kafka_does_not_read_is_neither_written_nor_read() {
    let request = |length| metadata::MetadataRequest {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some("x".repeat(length)),
            ..Default::default()
        }]),
        ..Default::default()
    };
    // Lengths of two bytes, and compact ones.
    for version in [8, 9] {
        let error = request(0x8000).encode(version, &mut Encoder::new()).unwrap_err();
        assert_eq!(error, crate::EncodeError::TooLong { length: 0x8000 });
        let longest = encode(&request(0x7fff), version);
        assert_eq!(metadata::MetadataRequest::decode(version, &longest), Ok(request(0x7fff)));
    }
    // One topic, its name with a compact length, no tagged fields, and what follows the topics.
    let body = [&[2, 0x81, 0x80, 2][..], &[b'x'; 0x8000], &[0; 5]].concat();
    let error = metadata::MetadataRequest::decode(9, &body.into()).unwrap_err();
    assert_eq!(error.kind, crate::DecodeErrorKind::InvalidLength(0x8000));
    assert_eq!(error.path, "topics[0].name");
}

#[test]
fn a_tagged_field_is_as_long_as_it_says() {
    let response = api_versions::ApiVersionsResponse { finalized_features_epoch: 5, ..Default::default() };
    let bytes = encode(&response, 3);
    // One tagged field: its tag, its size, and eight bytes.
    let (start, value) = bytes.split_at(bytes.len() - 8);
    assert_eq!(start[start.len() - 3..], [1, 1, 8]);
    for (size, value) in [(9, [value, &[0]].concat()), (7, value[..7].to_vec())] {
        let changed = [&start[..start.len() - 1], &[size], &value].concat();
        let error = api_versions::ApiVersionsResponse::decode(3, &changed.into()).unwrap_err();
        assert_eq!(error.path, "tagged_fields.finalized_features_epoch", "{error}");
    }
}

#[test]
fn a_tag_of_a_later_version_is_skipped_like_any_unknown_one() {
    let response = produce::ProduceResponse::default();
    let bytes = encode(&response, 9);
    // In the place of no tagged fields: the tag of `node_endpoints`, which version 10 has, with another content.
    let tagged = [&bytes[..bytes.len() - 1], &[1, 0, 2, 0xff, 0xff]].concat();
    assert_eq!(produce::ProduceResponse::decode(9, &tagged.clone().into()), Ok(response));
    assert!(produce::ProduceResponse::decode(10, &tagged.into()).is_err());
}

#[test]
fn a_length_below_that_of_null_is_refused() {
    for (length, kind) in
        [(-1i32, crate::DecodeErrorKind::UnexpectedNull), (-2, crate::DecodeErrorKind::InvalidLength(-2))]
    {
        assert_eq!(list_offsets_topics(&length.to_be_bytes().to_vec().into()).kind, kind);
    }
}

#[test]
fn an_array_length_that_the_bytes_cannot_hold_is_refused_before_memory_is_asked_for() {
    // Topics: 2^31 - 1 elements, then nothing.
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let error = list_offsets_topics(&bytes);
    assert_eq!(error.kind, crate::DecodeErrorKind::InvalidLength(i64::from(i32::MAX)));
}

fn list_offsets_topics(array: &Bytes) -> crate::DecodeError {
    let mut body = vec![0, 0, 0, 0]; // throttle_time_ms
    body.extend_from_slice(array);
    list_offsets::ListOffsetsResponse::decode(2, &body.into()).unwrap_err()
}

#[test]
fn the_throttle_time_is_given_by_every_message_that_has_it() {
    struct Fields;
    impl Visitor for Fields {
        fn visit<M: Message>(&mut self, _: &'static str) {
            let listed = M::SCHEMA.fields.iter().any(|field| field.name == "throttle_time_ms");
            assert_eq!(M::default().throttle_time_ms_mut(), listed.then_some(&mut 0), "{}", M::NAME);
        }
    }
    visit_all(&mut Fields);
    let mut response = produce::ProduceResponse { throttle_time_ms: 70, ..Default::default() };
    assert_eq!(response.throttle_time_ms_mut(), Some(&mut 70));
    *response.throttle_time_ms_mut().unwrap() = 71;
    assert_eq!(response.throttle_time_ms, 71);
}

/// For each answer that has a throttle time, the first version after which the client waits.
#[derive(Default)]
struct WaitsFrom(Vec<(&'static str, Option<i16>)>);

impl Visitor for WaitsFrom {
    fn visit<M: Message>(&mut self, _: &'static str) {
        let mut response = M::default();
        let Some(throttle_time_ms) = response.throttle_time_ms_mut() else { return };
        *throttle_time_ms = 70;
        let versions = M::VERSIONS.min..=M::VERSIONS.max;
        let waits = |version: &i16| response.silence_ms(*version) == 70;
        let first = versions.clone().find(waits);
        assert!(versions.skip_while(|version| !waits(version)).all(|version| waits(&version)));
        self.0.push((M::NAME, first));
    }
}

#[test]
fn the_client_waits_from_the_versions_from_which_java_does() {
    let mut found = WaitsFrom::default();
    visit_all(&mut found);
    found.0.sort_unstable();
    // `shouldClientThrottle` of each of Kafka's classes. It is false for those with `None`.
    let expected = [
        ("ApiVersionsResponse", Some(2)),
        ("CreatePartitionsResponse", Some(1)),
        ("CreateTopicsResponse", Some(3)),
        ("DeleteRecordsResponse", Some(1)),
        ("DeleteTopicsResponse", Some(2)),
        ("DescribeClusterResponse", None),
        ("DescribeConfigsResponse", Some(2)),
        ("DescribeProducersResponse", None),
        ("FetchResponse", Some(8)),
        ("FindCoordinatorResponse", Some(2)),
        ("IncrementalAlterConfigsResponse", Some(0)),
        ("InitProducerIdResponse", Some(1)),
        ("ListOffsetsResponse", Some(3)),
        ("MetadataResponse", Some(6)),
        ("OffsetForLeaderEpochResponse", None),
        ("ProduceResponse", Some(6)),
    ];
    assert_eq!(found.0, expected);
}

#[test]
fn what_a_sasl_exchange_carries_is_not_shown() {
    let request = sasl_authenticate::SaslAuthenticateRequest { auth_bytes: "secret".into() };
    assert_eq!(format!("{request:?}"), "SaslAuthenticateRequest { auth_bytes: [6 bytes, not shown] }");
}
