//! Produce: what is appended, and what is refused.

use bytes::Bytes;
use rskafka_protocol::ErrorCode;

use crate::support::*;

#[tokio::test]
async fn every_version_appends_and_every_version_reads() {
    let cluster = cluster(1).await;
    cluster.create_topic("t", 1, 1).unwrap();
    let topic = topic(&cluster, "t");
    let mut client = RawClient::pipe(&cluster, 1).await;
    let mut expected = Vec::new();
    for version in 3..=13 {
        let value = format!("version {version}");
        let request = produce_request(&topic, 0, -1, Some(batch([&value, "second"])));
        let answer = produced(client.call(version, &request).await);
        let offset = expected.len() as i64;
        assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, offset), "version {version}");
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
        expected.push((offset, Bytes::from(value)));
        expected.push((offset + 1, Bytes::from_static(b"second")));
    }
    for version in 4..=18 {
        let data = fetched(client.call(version, &fetch_request(&topic, 0, 0)).await);
        assert_eq!((data.error_code, data.high_watermark), (ErrorCode::NONE, 22), "version {version}");
        assert_eq!(records(&data), expected, "version {version}");
    }
}
