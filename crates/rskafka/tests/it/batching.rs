//! Many callers' records in batches: which go together and when, and what each caller learns.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use rskafka::bytes::Bytes;
use rskafka::client::error::{BoxError, ErrorKind, Outcome};
use rskafka::client::producer::{Aggregator, BatchProducer, Batched, Pushed, RecordAggregator};
use rskafka::client::{Client, PartitionClient, Produced};
use rskafka::protocol::{ApiKey, ErrorCode};
use rskafka::record::{Headers, NewRecord, Record, RecordBatchBuilder};
use rskafka_fake::{FakeCluster, Fault};
use tokio::time::{Instant, sleep, timeout};

use super::common::{SLACK, now, read_all, record, values};
use super::kit::{
    DELIVERY_TIMEOUT, REQUEST_TIMEOUT, TOPIC, assert_says, builder, failure, fake, start, start_plain,
};

type Records = RecordAggregator<(), String, ()>;

const LINGER: Duration = Duration::from_millis(50);
const MIB: usize = 1 << 20;

fn line(value: impl ToString) -> Record<(), String, ()> {
    Record::new((), value.to_string(), now())
}

/// A producer of batches of at most a MiB.
fn producer(log: &PartitionClient, linger: Duration) -> BatchProducer<Records> {
    BatchProducer::builder(log.clone()).linger(linger).build(RecordAggregator::new(MIB))
}

/// How many records each batch of the log has.
fn batches(cluster: &FakeCluster) -> Vec<usize> {
    let batches = cluster.log(TOPIC, 0).unwrap().decoded().unwrap();
    batches.iter().map(|batch| batch.records().count()).collect()
}

fn stored(cluster: &FakeCluster) -> Vec<Bytes> {
    cluster.log(TOPIC, 0).unwrap().values().unwrap()
}

/// Gives these values to a producer, all before any is awaited.
fn produce_all<V: ToString>(
    producer: &BatchProducer<Records>,
    values: impl IntoIterator<Item = V>,
) -> Vec<Batched<Records>> {
    values.into_iter().map(|value| producer.produce(line(value))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_in_flight_goes_together_in_the_order_of_the_calls() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE));
    let (one, other) = (producer(&log, Duration::ZERO), producer(&log, Duration::ZERO).clone());
    let producer = one.clone();
    drop((one, other));
    let calls = produce_all(&producer, 0..200);
    // The place was taken by the call: it does not matter who awaits first.
    for (number, call) in calls.into_iter().enumerate().rev() {
        assert_eq!(call.await.unwrap(), number as i64);
    }
    assert_eq!(batches(&cluster), [1, 199], "a group commit");
    let expected: Vec<_> = (0..200).map(|number: i32| number.to_string()).collect();
    assert_eq!(values(&read_all(&log).await), expected);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_again_at_once_are_one_group() {
    let (cluster, _client, log) = start(1).await;
    let producer = producer(&log, Duration::ZERO);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    producer.produce(line(format!("{task}.{number}"))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let batches = batches(&cluster);
    assert_eq!(batches.iter().sum::<usize>(), 160);
    assert!(batches.len() <= 24, "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_when_the_linger_of_its_first_record_is_over() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("dials")]).await.unwrap();
    let producer = producer(&log, LINGER);
    for round in 0..3 {
        let started = Instant::now();
        let first = producer.produce(line("first"));
        sleep(LINGER / 2).await;
        let second = producer.produce(line("second"));
        assert_eq!(stored(&cluster).len(), 1 + 2 * round, "they linger");
        second.await.unwrap();
        first.await.unwrap();
        let elapsed = started.elapsed();
        assert!(elapsed >= LINGER && elapsed < LINGER + LINGER / 4, "{elapsed:?}");
        // So that the next begins before the timer of this has noticed.
        sleep(Duration::from_millis(round as u64)).await;
    }
    assert_eq!(batches(&cluster), [1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_full_goes_at_once() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("dials")]).await.unwrap();
    let started = Instant::now();
    // By records: the third one fills it.
    let by_records = Records::new(MIB).max_records(3);
    let producer = BatchProducer::builder(log.clone()).linger(LINGER).build(by_records);
    for call in produce_all(&producer, 0..3) {
        call.await.unwrap();
    }
    // By bytes: the fourth one does not fit.
    let producer = BatchProducer::builder(log.clone()).linger(LINGER).build(Records::new(1_000));
    let mut calls = produce_all(&producer, (0..4).map(|_| "x".repeat(300)));
    let last = calls.pop().unwrap();
    for call in calls {
        call.await.unwrap();
    }
    assert!(started.elapsed() < LINGER, "{:?}", started.elapsed());
    last.await.unwrap();
    assert!(started.elapsed() >= LINGER, "the last one lingers: {:?}", started.elapsed());
    assert_eq!(batches(&cluster), [1, 3, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn flush_ends_the_linger_and_waits_for_what_was_given_before() {
    let (cluster, _client, log) = start(1).await;
    log.produce([record("dials")]).await.unwrap();
    let producer = producer(&log, LINGER);
    producer.flush().await.unwrap();
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE));
    let started = Instant::now();
    // Nobody awaits them.
    let given = produce_all(&producer, ["one", "two"]);
    producer.flush().await.unwrap();
    assert_eq!(stored(&cluster), ["dials", "one", "two"]);
    assert!(started.elapsed() < Duration::from_secs(1) + LINGER, "{:?}", started.elapsed());
    for (call, offset) in given.into_iter().zip(1..) {
        assert_eq!(timeout(Duration::ZERO, call).await.expect("it is settled").unwrap(), offset);
    }
    // What fails, it tells.
    cluster.inject(Fault::answer(ErrorCode::POLICY_VIOLATION).on(ApiKey::PRODUCE));
    drop(producer.produce(line("refused")));
    let error = producer.flush().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::POLICY_VIOLATION));
    // A dropped flush has ended the linger all the same.
    let call = producer.produce(line("flushed"));
    assert!(timeout(Duration::ZERO, producer.flush()).await.is_err());
    sleep(LINGER / 4).await;
    assert_eq!(timeout(Duration::ZERO, call).await.expect("it did not linger").unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_linger_without_end_ends_with_a_flush() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).delivery_timeout(Duration::MAX).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    let producer = producer(&log, Duration::MAX);
    let call = producer.produce(line("flushed"));
    sleep(Duration::from_secs(1_000_000)).await;
    assert!(stored(&cluster).is_empty());
    producer.flush().await.unwrap();
    assert_eq!(call.await.unwrap(), 0);
    assert!(producer.close(Duration::MAX).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_memory_wait_in_order_and_flush_waits_for_them() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(100)).on(ApiKey::PRODUCE).always());
    for linger in [Duration::ZERO, LINGER] {
        let builder = BatchProducer::builder(log.clone()).linger(linger).buffer_memory(500);
        let producer = builder.build(Records::new(MIB));
        let before = stored(&cluster).len();
        let mut calls = produce_all(&producer, (0..30).map(|number| format!("{number:0>100}")));
        // One that waits can be taken back.
        drop(calls.remove(20));
        let flushing = tokio::spawn({
            let producer = producer.clone();
            async move { producer.flush().await }
        });
        sleep(Duration::from_millis(150)).await;
        // The second batch is appended, and not answered yet.
        let written = stored(&cluster).len() - before;
        assert!(written <= 10, "memory is bounded: {written}");
        flushing.await.unwrap().unwrap();
        let numbers: Vec<_> = (0..30).filter(|number| *number != 20).collect();
        let expected: Vec<_> = numbers.iter().map(|number| Bytes::from(format!("{number:0>100}"))).collect();
        assert_eq!(stored(&cluster)[before..], expected);
        for (index, call) in calls.into_iter().enumerate() {
            let offset = timeout(Duration::ZERO, call).await.expect("it was flushed").unwrap();
            assert_eq!(offset, (before + index) as i64);
        }
        let most = *batches(&cluster).iter().max().unwrap();
        assert!((2..6).contains(&most), "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_and_for_a_place_ends_by_the_delivery_timeout() {
    let (cluster, _, _) = start(1).await;
    let client = builder(&cluster).request_timeout(DELIVERY_TIMEOUT * 2).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE).always());
    let producer = BatchProducer::builder(log.clone()).buffer_memory(300).build(Records::new(MIB));
    let in_flight = producer.produce(line("in flight"));
    sleep(Duration::from_secs(1)).await;
    let open = producer.produce(line("x".repeat(300)));
    sleep(Duration::from_secs(1)).await;
    let waiting = produce_all(&producer, ["one", "two"]);
    let started = Instant::now();
    let error = failure(DELIVERY_TIMEOUT, in_flight).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown));
    for call in [open].into_iter().chain(waiting) {
        let error = failure(DELIVERY_TIMEOUT, call).await;
        // Each ends by its own time; one of them may have been sent just before.
        assert!(error.is_timeout(), "{error:?}");
        assert!(started.elapsed() <= DELIVERY_TIMEOUT + SLACK, "{:?}", started.elapsed());
    }
    let requests = cluster.requests();
    let sent = requests.iter().filter(|request| request.api_key == ApiKey::PRODUCE).count();
    assert!(sent <= 3 && stored(&cluster).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_drops_its_future_hurts_no_other() {
    let (cluster, _client, log) = start(1).await;
    for linger in [Duration::ZERO, LINGER] {
        let producer = producer(&log, linger);
        let before = stored(&cluster).len();
        let mut kept = Vec::new();
        for (number, mut call) in produce_all(&producer, 0..60).into_iter().enumerate() {
            match number % 3 {
                0 => drop(call),
                1 => assert!(timeout(Duration::ZERO, &mut call).await.is_err()),
                _ => kept.push((number, call)),
            }
        }
        for (number, call) in kept {
            assert_eq!(call.await.unwrap(), (before + number) as i64);
        }
        let expected: Vec<_> = (0..60).map(|number: i32| Bytes::from(number.to_string())).collect();
        assert_eq!(stored(&cluster)[before..], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_is_sent_though_all_handles_are_dropped() {
    let (cluster, _client, log) = start(1).await;
    for linger in [Duration::ZERO, LINGER] {
        let producer = producer(&log, linger);
        let calls = produce_all(&producer, 0..5);
        drop((calls, producer));
    }
    sleep(Duration::from_secs(1)).await;
    let mut stored = stored(&cluster);
    stored.sort();
    assert_eq!(stored, ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_fails_its_callers_and_no_others() {
    let (cluster, _client, log) = start_plain(1).await;
    let producer = producer(&log, LINGER);
    cluster.inject(Fault::answer(ErrorCode::POLICY_VIOLATION).on(ApiKey::PRODUCE));
    for call in produce_all(&producer, 0..3) {
        let error = call.await.unwrap_err();
        assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::POLICY_VIOLATION), Outcome::NotWritten));
        assert_says(&error, &["Produce on topic wal partition 0 at broker 1 ("]);
    }
    cluster.inject(Fault::close().after_applying().on(ApiKey::PRODUCE));
    for call in produce_all(&producer, 3..5) {
        assert_eq!(call.await.unwrap_err().outcome(), Outcome::Unknown);
    }
    assert_eq!(producer.produce(line("5")).await.unwrap(), 2);
    assert_eq!(stored(&cluster), ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_fails_alone() {
    let (cluster, _client, log) = start(1).await;
    let producer = BatchProducer::builder(log.clone()).linger(LINGER).build(Records::new(1_000));
    let calls = [
        producer.produce(line("before")),
        producer.produce(line("x".repeat(1_000))),
        producer.produce(line("after")),
    ];
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await);
    }
    let error = ends.remove(1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error:?}");
    assert_eq!((error.outcome(), error.attempts()), (Outcome::NotWritten, 0));
    assert_says(&error, &["Produce on topic wal partition 0: ", "does not fit into an empty batch"]);
    assert_eq!(ends.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1]);
    let error = producer.produce(line("y".repeat(1_000))).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotWritten, "also where no batch is open");
    assert_eq!(stored(&cluster), ["before", "after"]);
}

/// What an aggregator of these tests is told to do by an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Never,
    Push,
    Flush,
    Output,
}

/// Joins the values of a batch in one record, and tells each caller where its own begins. Fails or panics when it is told to.
#[derive(Clone, Default)]
pub struct Joined {
    text: String,
    told: Vec<(When, bool)>,
}

impl Joined {
    fn obey(told: (When, bool), when: When) -> Result<(), BoxError> {
        match told {
            (at, true) if at == when => resume_unwind(Box::new("it was told to panic".to_owned())),
            (at, false) if at == when => Err("it was told to fail".into()),
            _ => Ok(()),
        }
    }
}

impl Aggregator for Joined {
    type Input = (&'static str, When, bool);
    type Tag = (usize, (When, bool));
    type Output = (i64, usize);

    fn push(&mut self, input: Self::Input) -> Result<Pushed<Self::Input, Self::Tag>, BoxError> {
        let (text, when, panics) = input;
        Self::obey((when, panics), When::Push)?;
        let tag = (self.text.len(), (when, panics));
        self.told.push(tag.1);
        self.text += text;
        Ok(Pushed::Added(tag))
    }

    fn size(&self) -> usize {
        self.text.len()
    }

    fn flush(&mut self) -> Result<RecordBatchBuilder, BoxError> {
        self.told.iter().try_for_each(|told| Self::obey(*told, When::Flush))?;
        let mut builder = RecordBatchBuilder::new();
        let timestamp = now().unix_timestamp() * 1_000;
        builder.push(NewRecord::new(timestamp, None, Some(self.text.as_bytes())))?;
        Ok(builder)
    }

    fn output(&self, produced: &Produced, tag: Self::Tag) -> Result<(i64, usize), BoxError> {
        Self::obey(tag.1, When::Output)?;
        Ok((produced.base_offset, tag.0))
    }
}

#[tokio::test(start_paused = true)]
async fn callers_get_what_their_aggregator_makes_of_the_batchs_offset() {
    let (cluster, _client, log) = start(1).await;
    let producer = BatchProducer::builder(log.clone()).linger(LINGER).build(Joined::default());
    for round in 0..3 {
        let calls = ["one", "three", "five"].map(|text| producer.produce((text, When::Never, false)));
        for (call, begins) in calls.into_iter().zip([0, 3, 8]) {
            assert_eq!(call.await.unwrap(), (round, begins));
        }
    }
    assert_eq!(stored(&cluster), ["onethreefive"; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_fails_or_panics_hurts_its_batch_alone() {
    for (when, panics) in
        [When::Push, When::Flush, When::Output].map(|when| [(when, false), (when, true)]).concat()
    {
        let (cluster, _client, log) = start(1).await;
        let producer = BatchProducer::builder(log.clone()).linger(LINGER).build(Joined::default());
        let good = |text| producer.produce((text, When::Never, false));
        assert_eq!(good("before").await.unwrap(), (0, 0));
        let calls = [good("mate"), producer.produce(("bad", when, panics)), good("mate")];
        let mut ends = Vec::new();
        for call in calls {
            ends.push(call.await);
        }
        let error = ends.remove(1).unwrap_err();
        let said = if panics { "it panicked: it was told to panic" } else { "it was told to fail" };
        assert_says(&error, &["Produce on topic wal partition 0: ", said]);
        assert!(!error.is_retriable());
        match when {
            When::Output => {
                let kind = ErrorKind::NoOutput { base_offset: 1 };
                assert_eq!((error.kind(), error.outcome()), (&kind, Outcome::Unknown));
                assert!(!error.to_string().contains("not known"), "{error}");
            }
            _ => assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Aggregator, Outcome::NotWritten)),
        }
        // A failed push hurts nobody else; after a panic, the batch so far is gone.
        let mates: Vec<_> = ends.iter().map(|end| end.as_ref().ok().copied()).collect();
        let expected = match (when, panics) {
            (When::Push, false) => [Some((1, 0)), Some((1, 4))],
            (When::Push, true) => [None, Some((1, 0))],
            (When::Output, _) => [Some((1, 0)), Some((1, 7))],
            _ => [None, None],
        };
        assert_eq!(mates, expected, "{when:?} {panics}");
        for error in ends.into_iter().filter_map(Result::err) {
            assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Aggregator, Outcome::NotWritten));
        }
        good("after").await.unwrap();
        let written = stored(&cluster);
        assert_eq!(written.first().unwrap(), "before");
        assert_eq!(written.last().unwrap(), "after");
        let has_bad = written
            .iter()
            .any(|value| value.ends_with(b"mate") && value.windows(3).any(|part| part == b"bad"));
        assert_eq!(has_bad, when == When::Output, "{written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn flush_tells_of_a_batch_that_fails_before_it_is_sent_and_of_one_that_had_to_wait() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_millis(100)).on(ApiKey::PRODUCE).always());
    let builder = BatchProducer::builder(log.clone()).linger(LINGER).buffer_memory(80);
    let producer = builder.build(Joined::default());
    let first = producer.produce(("first", When::Flush, false));
    assert_eq!(producer.flush().await.unwrap_err().kind(), &ErrorKind::Aggregator);
    assert_eq!(first.await.unwrap_err().kind(), &ErrorKind::Aggregator);
    drop(producer.produce(("fills the memory", When::Never, false)));
    producer.flush().await.unwrap();
    const LARGE: &str =
        "more than the memory, so that those behind it wait until it is written, which takes its time";
    let given = [(LARGE, When::Never, false), ("waits", When::Never, false), ("fails", When::Flush, false)];
    let calls = given.map(|input| producer.produce(input));
    assert_eq!(producer.flush().await.unwrap_err().kind(), &ErrorKind::Aggregator);
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.is_ok());
    }
    assert_eq!(ends, [true, false, false]);
}

/// A waker that produces again, as an executor may that polls futures where they are woken.
struct ProducesAgain {
    producer: BatchProducer<Records>,
    made: Mutex<Vec<Batched<Records>>>,
}

impl Wake for ProducesAgain {
    fn wake(self: Arc<Self>) {
        let call = self.producer.produce(line("from a waker"));
        self.made.lock().unwrap().push(call);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_woken_may_produce_at_once() {
    let (cluster, _client, log) = start(1).await;
    let builder = BatchProducer::builder(log.clone()).buffer_memory(200);
    let producer = builder.build(Records::new(MIB));
    let again = Arc::new(ProducesAgain { producer: producer.clone(), made: Mutex::default() });
    let waker = Waker::from(again.clone());
    let mut calls = produce_all(&producer, (0..10).map(|number| format!("{number:0>100}")));
    for call in &mut calls {
        assert!(std::pin::pin!(call).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    for call in calls {
        call.await.unwrap();
    }
    producer.flush().await.unwrap();
    let made = std::mem::take(&mut *again.made.lock().unwrap());
    assert!(!made.is_empty());
    let count = made.len();
    for call in made {
        call.await.unwrap();
    }
    assert_eq!(stored(&cluster).len(), 10 + count);
}

#[tokio::test(start_paused = true)]
async fn close_sends_what_was_given_and_refuses_more() {
    let (cluster, _client, log) = start(1).await;
    cluster.inject(Fault::delay(Duration::from_secs(1)).on(ApiKey::PRODUCE).always());
    let builder = BatchProducer::builder(log.clone()).linger(LINGER).buffer_memory(500);
    let producer = builder.build(Records::new(MIB));
    let calls = produce_all(&producer, (0..10).map(|number| format!("{number:0>100}")));
    let closing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.close(Duration::from_secs(6)).await }
    });
    sleep(Duration::from_millis(10)).await;
    let error = failure(Duration::ZERO, producer.produce(line("late"))).await;
    assert_eq!((error.kind(), error.outcome()), (&ErrorKind::ProducerClosed, Outcome::NotWritten));
    assert_says(&error, &["Produce on topic wal partition 0: the batch producer is closed"]);
    let unfinished = closing.await.unwrap();
    assert!(unfinished.is_empty(), "{unfinished:?}");
    for (call, offset) in calls.into_iter().zip(0..) {
        assert_eq!(timeout(Duration::ZERO, call).await.expect("close has waited for it").unwrap(), offset);
    }
    assert!(producer.close(Duration::ZERO).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn close_at_its_deadline_lists_truly_what_is_not_written_and_what_may_be() {
    // A batch whose answer is lost: it is written or not, and nobody knows.
    for is_written in [false, true] {
        let (cluster, _client, log) = start_plain(1).await;
        let producer = BatchProducer::builder(log.clone()).buffer_memory(400).build(Records::new(MIB));
        let swallow = Fault::swallow().on(ApiKey::PRODUCE);
        cluster.inject(if is_written { swallow.after_applying() } else { swallow });
        let mut in_flight = produce_all(&producer, ["in flight"]);
        let unsent = produce_all(&producer, (0..3).map(|number| format!("{number:0>100}")));
        let waiting = produce_all(&producer, ["waits", "waits too"]);
        let started = Instant::now();
        let unfinished = producer.close(Duration::from_secs(1)).await;
        assert_eq!(started.elapsed().as_millis(), 1_000);
        assert_eq!(unfinished.inputs(Outcome::Unknown), 1, "{unfinished:?}");
        assert_eq!(unfinished.inputs(Outcome::NotWritten), 5, "{unfinished:?}");
        assert!(unfinished.batches.iter().all(|batch| batch.inputs > 0));
        for call in unsent.into_iter().chain(waiting) {
            let error = failure(Duration::ZERO, call).await;
            assert_eq!((error.kind(), error.outcome()), (&ErrorKind::ProducerClosed, Outcome::NotWritten));
        }
        // Its caller gets the result that it comes to.
        let error = failure(REQUEST_TIMEOUT, in_flight.remove(0)).await;
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::TimedOut, Outcome::Unknown));
        sleep(DELIVERY_TIMEOUT).await;
        assert_eq!(stored(&cluster).len(), usize::from(is_written));
    }
}

#[tokio::test(start_paused = true)]
async fn close_lists_what_fails_while_it_waits() {
    let (cluster, _client, log) = start(1).await;
    let producer = producer(&log, LINGER);
    cluster.inject(Fault::answer(ErrorCode::POLICY_VIOLATION).on(ApiKey::PRODUCE));
    let calls = produce_all(&producer, ["refused", "refused too"]);
    let unfinished = producer.close(Duration::from_secs(5)).await;
    assert_eq!(unfinished.batches.len(), 1, "{unfinished:?}");
    let batch = &unfinished.batches[0];
    assert_eq!((batch.inputs, batch.error.code()), (2, Some(ErrorCode::POLICY_VIOLATION)));
    assert!(batch.size > 61);
    for call in calls {
        assert_eq!(call.await.unwrap_err().code(), Some(ErrorCode::POLICY_VIOLATION));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_fails_what_lingers_as_not_written() {
    let (cluster, client, log) = start(1).await;
    let producer = producer(&log, Duration::from_secs(3));
    let calls = produce_all(&producer, ["lingers", "lingers too"]);
    client.close().await;
    for call in calls {
        let error = failure(Duration::ZERO, call).await;
        assert_eq!((error.kind(), error.outcome()), (&ErrorKind::Closed, Outcome::NotWritten));
    }
    assert!(stored(&cluster).is_empty());
}

#[test]
fn callers_end_with_the_runtime_of_the_client() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let (brokers, home, other) = (runtime(), runtime(), runtime());
    let cluster = brokers.block_on(fake().start()).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let log = home.block_on(async {
        let client = Client::new_plain(cluster.bootstrap_servers()).await.unwrap();
        client.partition_client(TOPIC, 0).await.unwrap()
    });
    cluster.inject(Fault::swallow().on(ApiKey::PRODUCE));
    let (plain, lingering) = (producer(&log, Duration::ZERO), producer(&log, Duration::from_secs(50)));
    let mut calls = produce_all(&plain, ["in flight", "open"]);
    calls.extend(produce_all(&lingering, ["lingers"]));
    brokers.block_on(cluster.requests_like(1, |request| request.api_key == ApiKey::PRODUCE));
    home.shutdown_timeout(Duration::from_secs(5));
    other.block_on(async {
        calls.push(lingering.produce(line("late")));
        // The open batch may go out while the runtime ends.
        let sent = [Some(Outcome::Unknown), None, Some(Outcome::NotWritten), Some(Outcome::NotWritten)];
        for (call, outcome) in calls.into_iter().zip(sent) {
            let error = timeout(Duration::from_secs(5), call).await.expect("it ends").unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Closed);
            assert!(outcome.is_none_or(|outcome| error.outcome() == outcome), "{error:?}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn records_of_any_form_are_taken() {
    let (_cluster, _client, log) = start(1).await;
    let producer = BatchProducer::builder(log.clone()).build(RecordAggregator::new(MIB));
    let mut headers = Headers::new();
    headers.push("one", Some("1"));
    let record = Record { key: None, value: Some(Bytes::from("value")), headers, timestamp: now() };
    assert_eq!(producer.produce(record.clone()).await.unwrap(), 0);
    assert_eq!(read_all(&log).await.remove(0).record, record);
    let producer = BatchProducer::builder(log.clone()).build(RecordAggregator::new(MIB));
    assert_eq!(producer.produce(Record::new("key", vec![1u8], now())).await.unwrap(), 1);
    assert!(
        !format!("{producer:?} {:?}", producer.produce(Record::new("confidential", vec![], now())))
            .contains("confi")
    );
}
