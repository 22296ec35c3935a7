//! How often a broker hears of a call that goes on failing.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rskafka_fake::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// Long enough for the longest pause to come several times.
const LONG: Duration = Duration::from_secs(8);

/// Asserts that pauses double from the first to the longest, each within its spread.
#[track_caller]
fn assert_backs_off(arrivals: &[Instant]) {
    let Backoff { initial, max } = Backoff::default();
    let pauses: Vec<_> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 8, "{pauses:?}");
    for (index, pause) in pauses.iter().enumerate() {
        let middle = (initial * 2u32.pow(index as u32)).min(max);
        let spread = middle * 8 / 10..=middle * 12 / 10 + millis(2);
        assert!(spread.contains(pause), "{pause:?} is not within {spread:?}: {pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_call_come_after_growing_pauses() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    fake.inject(Fault::answer(ErrorCode::OFFSET_NOT_AVAILABLE).on(ApiKey::LIST_OFFSETS).times(200));
    let error = ask_leader(&cluster, &Lane::default(), after(LONG)).await.unwrap_err();
    assert!(error.attempts.out_of_time);
    assert_backs_off(&arrivals(&fake, ApiKey::LIST_OFFSETS));
}

#[tokio::test(start_paused = true)]
async fn looks_at_a_partition_without_a_leader_come_after_growing_pauses() {
    let (fake, cluster, _) = connected(fake().advertise(ApiKey::METADATA, 1..=12), 1).await;
    cluster.route(LEADER, after(LONG)).await.unwrap();
    cluster.mark_stale(TOPIC);
    fake.clear_requests();
    let late = Fault::answer(ErrorCode::LEADER_NOT_AVAILABLE).on(ApiKey::METADATA).topic(TOPIC).times(200);
    fake.inject(late);
    let failure = cluster.route(LEADER, after(LONG)).await.unwrap_err();
    assert_eq!(failure.code(), Some(ErrorCode::LEADER_NOT_AVAILABLE));
    assert_backs_off(&arrivals(&fake, ApiKey::METADATA));
}

#[tokio::test(start_paused = true)]
async fn rounds_of_questions_for_metadata_come_after_growing_pauses() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    fake.inject(Fault::answer(ErrorCode::LEADER_NOT_AVAILABLE).on(ApiKey::METADATA).times(200));
    let error = cluster.topic(TOPIC, after(millis(0)), after(LONG)).await.unwrap_err();
    assert!(error.attempts.out_of_time);
    assert_backs_off(&arrivals(&fake, ApiKey::METADATA));
}

/// Passes frames on until a request for metadata was answered, and closes both ways then.
async fn relay_until_metadata(mut client: DuplexStream, mut broker: DuplexStream) {
    loop {
        let Some(request) = read_frame(&mut client).await else { return };
        broker.write_all(&request).await.unwrap();
        let Some(answer) = read_frame(&mut broker).await else { return };
        client.write_all(&answer).await.unwrap();
        if request[4..6] == ApiKey::METADATA.0.to_be_bytes() {
            return;
        }
    }
}

/// A frame with its length.
async fn read_frame(stream: &mut DuplexStream) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// Connections that the broker closes right after their opening, if their numbers are in `closing`; the first one, for
/// metadata, is number 0. Counts all.
async fn closing_after_opening(closing: Range<usize>) -> (FakeCluster, Cluster, Arc<AtomicUsize>) {
    // Which cluster a connection leads to is asked by Metadata, the last request of an opening.
    let fake = start(fake().advertise(ApiKey::API_VERSIONS, 0..=4), 1).await;
    let dials = Arc::new(AtomicUsize::new(0));
    let connector = {
        let (fake, dials) = (fake.clone(), dials.clone());
        move |host: String, port: u16| {
            let (fake, closes) = (fake.clone(), closing.contains(&dials.fetch_add(1, Ordering::Relaxed)));
            async move {
                let broker = fake.connect(&host, port).await?;
                if !closes {
                    return Ok(broker);
                }
                let (ours, theirs) = duplex(1 << 16);
                tokio::spawn(relay_until_metadata(theirs, broker));
                Ok::<_, std::io::Error>(ours)
            }
        }
    };
    let env = Env::builder().connector(connector).random_seed(1).build();
    let cluster = connect(env, config(&["broker-1"])).await;
    cluster.route(LEADER, after(LONG)).await.unwrap();
    (fake, cluster, dials)
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_closes_each_connection_right_after_its_opening_is_not_dialled_in_a_hot_loop() {
    // So that dialling without end comes to one, later connections stay open.
    let (_fake, cluster, dials) = closing_after_opening(1..500).await;
    let error = ask_leader(&cluster, &Lane::default(), after(LONG)).await.unwrap_err();
    assert!(error.attempts.out_of_time && !error.attempts.may_be_applied, "{error:?}");
    // The first failure, an end before the request, is followed by an attempt at once, and counts for none.
    let dials = dials.load(Ordering::Relaxed) - 1;
    assert!(
        error.attempts.count <= 13 && dials <= error.attempts.count as usize + 1,
        "{dials} dials: {error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_before_the_request_was_on_it_counts_for_no_attempt_and_costs_no_pause() {
    let (fake, cluster, dials) = closing_after_opening(1..2).await;
    fake.inject(Fault::answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED).on(ApiKey::LIST_OFFSETS));
    let started = now();
    let error = ask_leader(&cluster, &Lane::default(), after(LONG)).await.unwrap_err();
    assert_eq!(
        (error.attempts.count, error.failure.code()),
        (1, Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED))
    );
    assert!(started.elapsed() < millis(1), "{:?}", started.elapsed());
    assert_eq!(dials.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn brokers_that_go_on_naming_another_leader_are_not_asked_in_a_hot_loop() {
    let (fake, cluster, _) = connected(fake(), 2).await;
    let (deadline, lane) = (after(LONG), Lane::default());
    let leader = cluster.route(LEADER, deadline).await.unwrap();
    let (mut epoch, mut leader_id) = (leader.epoch.unwrap(), leader.broker.id);
    let judge = |_: Answer<'_, ListOffsetsResponse, Leader>| {
        // Each names the other one, in an epoch that is newer still; after very many times it is content.
        (epoch, leader_id) = (epoch + 1, 3 - leader_id);
        let endpoint = Endpoint::new(format!("broker-{leader_id}"), 9092);
        let hint = LeaderHint { leader_id, leader_epoch: epoch, endpoint };
        match epoch {
            500.. => Ok(()),
            _ => Learned::judged(ErrorCode::NOT_LEADER_OR_FOLLOWER, None, Some(hint), ()),
        }
    };
    let call = Call { target: LEADER, via: Via::Own(&lane), deadline };
    let build = |_: &Leader, _: &_| {
        (ListOffsetsRequest { replica_id: -1, ..Default::default() }, CallOptions::new(deadline))
    };
    let error = cluster.send(call, build, judge).await.unwrap_err();
    assert!(error.attempts.out_of_time && error.attempts.count <= 2 * 13, "{error:?}");
    assert_eq!(arrivals(&fake, ApiKey::LIST_OFFSETS).len(), error.attempts.count as usize);
}

#[tokio::test(start_paused = true)]
async fn that_an_attempt_may_be_applied_is_remembered_over_those_after_it() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    for code in [ErrorCode::REQUEST_TIMED_OUT, ErrorCode::OFFSET_NOT_AVAILABLE] {
        fake.inject(Fault::answer(code).on(ApiKey::LIST_OFFSETS));
        fake.inject(Fault::answer(ErrorCode::OFFSET_NOT_AVAILABLE).on(ApiKey::LIST_OFFSETS).times(200));
        let error = ask_leader(&cluster, &Lane::default(), after(LONG)).await.unwrap_err();
        assert!(error.attempts.count > 2, "{error:?}");
        assert_eq!(error.attempts.may_be_applied, code == ErrorCode::REQUEST_TIMED_OUT);
        fake.clear_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_what_the_last_attempt_failed_with_though_no_other_could_be_made() {
    let (fake, cluster, _) = connected(fake(), 1).await;
    let (deadline, lane) = (after(LONG), Lane::default());
    ask_leader(&cluster, &lane, deadline).await.unwrap();
    fake.inject(Fault::answer(ErrorCode::NOT_LEADER_OR_FOLLOWER).on(ApiKey::LIST_OFFSETS));
    fake.inject(Fault::swallow().on(ApiKey::METADATA).always());
    let error = ask_leader(&cluster, &lane, deadline).await.unwrap_err();
    assert_eq!((error.attempts.count, error.attempts.out_of_time), (1, true), "{error:?}");
    assert_eq!(error.failure.code(), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER), "{error:?}");
}
