//! Brokers that freeze, are slow, or receive more than they can serve.

use std::time::Duration;

use rskafka_fake::{ByteFault, FakeCluster, Fault, Profile};
use rskafka_protocol::messages::metadata::MetadataRequest;
use rskafka_protocol::{ApiKey, encode_request};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::Stage;
use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

fn probe() -> Vec<u8> {
    encode_request(&MetadataRequest::default(), 1, 1, None).unwrap().to_bytes().to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_frozen_broker_keeps_the_socket_open_and_neither_reads_nor_answers() {
    for profile in Profile::ALL {
        // From the first byte on, in the middle of a request, and in the middle of an answer.
        for fault in
            [ByteFault::freeze(), ByteFault::freeze().after_received(9), ByteFault::freeze().after_sent(9)]
        {
            let stage = Stage::new(profile, 1).await;
            let fault = stage.cluster.inject_bytes(fault.at_broker(1));
            let mut client = stage.client(1).await;
            client.send_bytes(&probe()).await;
            assert!(timeout(9 * MINUTE, client.frame()).await.is_err(), "{profile}: no end, no answer");
            assert_eq!((stage.cluster.struck(fault), stage.cluster.open_connections(1).unwrap()), (1, 1));
            stage.client(1).await.call(1, &MetadataRequest::default()).await;
            stage.cluster.remove_fault(fault);
            assert!(client.frame().await.is_some(), "{profile}: it goes on where it was");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_broker_takes_what_its_buffer_holds_and_then_writes_wait() {
    for profile in Profile::ALL {
        let builder = FakeCluster::builder().in_memory().pipe_bytes(1000);
        let stage = Stage::with(profile, builder).await;
        stage.cluster.inject_bytes(ByteFault::freeze());
        let mut stream = stage.cluster.connect("broker-1", 9092).await.unwrap();
        let mut taken = 0;
        while let Ok(written) = timeout(MINUTE, stream.write(&[0; 64])).await {
            taken += written.unwrap();
        }
        assert_eq!(taken, 1000, "{profile}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn a_broker_frozen_during_tls_does_not_answer_the_hello() {
    let tls = rskafka_fake::FakeTls::new().unwrap();
    for profile in Profile::ALL {
        let builder = FakeCluster::builder().in_memory().profile(profile).tls(tls.clone());
        let cluster = builder.start().await.unwrap();
        let hello = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
        for is_frozen in [false, true] {
            let fault = is_frozen.then(|| cluster.inject_bytes(ByteFault::freeze().after_received(3)));
            let mut stream = cluster.connect("broker-1", 9092).await.unwrap();
            stream.write_all(&hello).await.unwrap();
            let mut answer = [0; 1];
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut answer);
            // A hello like that gets an alert, or the end.
            assert_eq!(timeout(MINUTE, read).await.is_err(), is_frozen, "{profile}");
            assert_eq!(fault.map_or(0, |fault| cluster.struck(fault)), u64::from(is_frozen));
        }
    }
}

#[cfg(feature = "sasl")]
#[tokio::test(start_paused = true)]
async fn a_broker_frozen_during_sasl_leaves_the_login_unanswered() {
    use rskafka_fake::{FakeSasl, SaslMechanism};
    use rskafka_protocol::ErrorCode;
    use rskafka_protocol::messages::sasl_authenticate::SaslAuthenticateRequest;
    use rskafka_protocol::messages::sasl_handshake::SaslHandshakeRequest;

    for profile in Profile::ALL {
        let sasl = FakeSasl::new([SaslMechanism::Plain]).user("alice", "secret");
        let builder = FakeCluster::builder().in_memory().profile(profile).sasl(sasl);
        let cluster = builder.start().await.unwrap();
        let mut client = RawClient::pipe(&cluster, 1).await;
        let handshake = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
        assert_eq!(client.call(1, &handshake).await.error_code, ErrorCode::NONE);
        let fault = cluster.inject_bytes(ByteFault::freeze().after_sent(0));
        let auth_bytes = b"\0alice\0secret".to_vec().into();
        let id = client.send(0, &SaslAuthenticateRequest { auth_bytes }).await;
        assert!(timeout(9 * MINUTE, client.frame()).await.is_err(), "{profile}");
        cluster.remove_fault(fault);
        let answer = client.receive::<SaslAuthenticateRequest>(0, id).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_both_ways_is_served_that_slowly() {
    for profile in Profile::ALL {
        let stage = Stage::new(profile, 1).await;
        for fault in [ByteFault::slow(1).after_received(0), ByteFault::slow(1).after_sent(0)] {
            stage.cluster.inject_bytes(fault.always());
        }
        let topic = stage.topic(1);
        let mut client = stage.client(1).await;
        let start = Instant::now();
        client.send_bytes(&probe()).await;
        let answer = client.frame().await.unwrap();
        let bytes = probe().len() + 4 + answer.len();
        assert_eq!(start.elapsed().as_secs(), bytes as u64, "{profile}");
        // Meanwhile an append on another connection is as slow, and is written when its last byte is there.
        let mut other = stage.client(1).await;
        let id = stage.send_append(&mut other, &topic, batch(["a"])).await;
        tokio::time::sleep(MINUTE).await;
        assert!(stage.values().is_empty(), "{profile}");
        assert_eq!(stage.appended(&mut other, id).await.base_offset, 0, "{profile}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_swallowed_request_is_never_answered_and_the_connection_serves_what_comes_behind_it() {
    for profile in Profile::ALL {
        for (fault, written) in [(Fault::swallow(), 1), (Fault::swallow().after_applying(), 2)] {
            let stage = Stage::new(profile, 1).await;
            let topic = stage.topic(1);
            let mut client = stage.client(1).await;
            stage.cluster.inject(fault.on(ApiKey::PRODUCE));
            stage.send_append(&mut client, &topic, batch(["swallowed"])).await;
            assert!(timeout(9 * MINUTE, client.frame()).await.is_err(), "{profile}");
            let id = stage.send_append(&mut client, &topic, batch(["next"])).await;
            let answer = stage.appended(&mut client, id).await;
            assert_eq!(answer.base_offset, written - 1, "{profile}: its answer comes next");
            assert_eq!(stage.values().len() as i64, written, "{profile}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_broker_takes_one_request_at_a_time_and_a_fast_caller_waits() {
    for profile in Profile::ALL {
        let stage = Stage::with(profile, FakeCluster::builder().in_memory().pipe_bytes(4096)).await;
        let topic = stage.topic(1);
        stage.cluster.inject(Fault::delay(MINUTE).on(ApiKey::PRODUCE).always());
        let version = stage.newest::<rskafka_protocol::messages::produce::ProduceRequest>().unwrap();
        let request = produce_request(&topic, 0, -1, Some(batch([[b'x'; 10_000]])));
        let frame = encode_request(&request, version, 1, None).unwrap().to_bytes();
        let mut stream = stage.cluster.connect("broker-1", 9092).await.unwrap();
        let mut written = 0;
        let flood = async {
            loop {
                stream.write_all(&frame).await.unwrap();
                written += 1;
            }
        };
        assert!(timeout(Duration::from_secs(59), flood).await.is_err(), "{profile}: it has to wait");
        assert!((2..=12).contains(&written), "{profile}: {written} requests of 10 kB were taken in");
        let requests = stage.cluster.requests();
        let taken = requests.iter().filter(|request| request.taken.is_some());
        assert_eq!(taken.filter(|request| request.api_key == ApiKey::PRODUCE).count(), 1, "{profile}");
        assert_eq!(stage.cluster.log("t", 0).unwrap().end_offset, 1, "{profile}");
        // Connections to the other broker are not held up.
        let start = Instant::now();
        stage.client(1).await.call(1, &MetadataRequest::default()).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "{profile}");
    }
}
