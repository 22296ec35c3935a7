//! How an append goes out: by the call itself where nothing has to be waited for, and in the order of the calls,
//! no matter which of them sends it.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use rskafka::client::env::Env;
use rskafka::client::error::{ErrorKind, Outcome};
use rskafka::client::{PartitionClient, Produce};
use rskafka::protocol::ApiKey;
use rskafka::protocol::records::{Attributes, BatchHeader, Compression, Flag};
use rskafka::record::{NewRecord, RecordBatchBuilder};
use rskafka_fake::Fault;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::common::{now, read_all, record, values};
use super::kit::{TOPIC, assert_says, builder, close_connections, fake, start};

/// A stream that counts the writes to it.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_to_a_known_leader_is_written_before_the_call_returns() {
    let cluster = fake().in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let (dialed, writes) = (cluster.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = writes.clone();
    let connector = move |host: String, port: u16| {
        let (cluster, writes) = (dialed.clone(), counted.clone());
        async move { cluster.connect(&host, port).await.map(|stream| Counted { stream, writes }) }
    };
    let env = Env::builder().connector(connector).build();
    let client = builder(&cluster).env(env).build().await.unwrap();
    let log = client.partition_client(TOPIC, 0).await.unwrap();
    log.produce([record("dials")]).await.unwrap();
    for round in 1..4 {
        let before = writes.load(Ordering::Relaxed);
        let produce = log.produce([record("goes out at once")]);
        assert!(writes.load(Ordering::Relaxed) > before, "round {round}: nothing was written by the call");
        assert_eq!(produce.await.unwrap().base_offset, round);
    }
}

/// A waker that makes another append, as an executor may that polls futures where they are woken.
struct AppendsAgain {
    log: PartitionClient,
    made: Mutex<Vec<Produce>>,
}

impl Wake for AppendsAgain {
    fn wake(self: Arc<Self>) {
        let produce = self.log.produce([record("from a waker")]);
        self.made.lock().unwrap().push(produce);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_woken_may_append_at_once() {
    let (_, _client, log) = start(1).await;
    log.produce([record("dials")]).await.unwrap();
    let again = Arc::new(AppendsAgain { log: log.clone(), made: Mutex::default() });
    let waker = Waker::from(again.clone());
    let mut first = pin!(log.produce([record("first")]));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(log.produce([record("second")]).await.unwrap().base_offset, 2);
    assert_eq!(first.await.unwrap().base_offset, 1);
    let made = std::mem::take(&mut *again.made.lock().unwrap());
    assert_eq!(made.len(), 1);
    for produce in made {
        produce.await.unwrap();
    }
    assert_eq!(values(&read_all(&log).await), ["dials", "first", "second", "from a waker"]);
}

#[tokio::test(start_paused = true)]
async fn appends_keep_their_order_whether_the_call_the_answer_or_a_task_sends_them() {
    let (cluster, _client, log) = start(1).await;
    let mut expected = Vec::new();
    for round in 0..20 {
        match round % 4 {
            // Sent by a task, which dials.
            0 => close_connections(&cluster, 1).await,
            // Sent again by a task, after a pause.
            1 => {
                let refusal = Fault::answer(rskafka::protocol::ErrorCode::NOT_ENOUGH_REPLICAS);
                cluster.inject(refusal.on(ApiKey::PRODUCE));
            }
            _ => {}
        }
        let values: Vec<_> = (0..5).map(|number| format!("{round}.{number}")).collect();
        let calls: Vec<_> = values.iter().map(|value| log.produce([record(value.as_str())])).collect();
        // The last is waited for first: nobody polls those before it.
        for (number, call) in calls.into_iter().enumerate().rev() {
            assert_eq!(call.await.unwrap().base_offset, (expected.len() + number) as i64);
        }
        expected.extend(values);
    }
    assert_eq!(values(&read_all(&log).await), expected);
}

/// A batch of these values, with what `header` changes in its header.
fn filled(values: &[&str], header: impl FnOnce(&mut BatchHeader)) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new();
    let mut changed = BatchHeader::default();
    header(&mut changed);
    builder.set_header(changed).unwrap();
    let timestamp = now().unix_timestamp() * 1_000;
    for value in values {
        builder.push(NewRecord::new(timestamp, None, Some(value.as_bytes()))).unwrap();
    }
    builder
}

#[tokio::test(start_paused = true)]
async fn batches_that_the_caller_filled_are_appended_in_the_order_of_all_calls() {
    let (cluster, _client, log) = start(1).await;
    let gzip = |header: &mut BatchHeader| {
        header.attributes = Attributes::default().with_compression(Compression::Gzip);
    };
    let calls = [
        log.produce([record("0")]),
        log.produce_batch(filled(&["1", "2"], |_| {})),
        log.produce([record("3")]),
        log.produce_batch(filled(&["4", "5", "6"], gzip)),
        log.produce_batch(filled(&["7"], |_| {})),
    ];
    let mut offsets = Vec::new();
    let mut sizes = Vec::new();
    for call in calls {
        let produced = call.await.unwrap();
        offsets.push(produced.offsets());
        sizes.push(produced.encoded_size);
    }
    assert_eq!(offsets, [0..1, 1..3, 3..4, 4..7, 7..8]);
    let stored = cluster.log(TOPIC, 0).unwrap().decoded().unwrap();
    assert_eq!(stored.iter().map(|batch| batch.size_in_bytes()).collect::<Vec<_>>(), sizes);
    assert_eq!(stored[3].header().attributes.compression(), Ok(Compression::Gzip));
    drop(log.produce_batch(filled(&["8", "9"], |_| {})));
    log.produce([record("10")]).await.unwrap();
    assert_eq!(values(&read_all(&log).await), (0..11).map(|value| value.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_callers_to_set_in_a_batch_is_refused_before_it_is_sent() {
    let (cluster, _client, log) = start(1).await;
    let of = |attributes: Attributes| filled(&["refused"], |header| header.attributes = attributes);
    let plain = Attributes::default();
    let mut with_gap = filled(&["before the gap"], |_| {});
    with_gap.skip_offsets(1).unwrap();
    let mut late = filled(&[], |_| {});
    late.skip_offsets(1).unwrap();
    late.push(NewRecord::new(0, None, None)).unwrap();
    let mut too_hard = filled(&["compressed"], |header| {
        header.attributes = plain.with_compression(Compression::Gzip);
    });
    too_hard.set_compression_level(Some(99));
    let refused = [
        (RecordBatchBuilder::new(), "no records"),
        (of(plain.with(Flag::Control, true)), "only brokers and transactions set"),
        (of(plain.with(Flag::Transactional, true)), "only brokers and transactions set"),
        (of(plain.with(Flag::DeleteHorizon, true)), "only brokers and transactions set"),
        (of(plain.with(Flag::LogAppendTime, true)), "only brokers and transactions set"),
        (of(Attributes(1 << 9)), "only brokers and transactions set"),
        (of(Attributes(7)), "codec"),
        (with_gap, "offsets without a record"),
        (late, "offsets without a record"),
        (too_hard, "no level 99"),
    ];
    for (builder, why) in refused {
        let error = log.produce_batch(builder).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error:?}");
        assert_eq!((error.outcome(), error.attempts()), (Outcome::NotWritten, 0));
        assert_says(&error, &["Produce on topic wal partition 0: ", why]);
    }
    assert_eq!(log.produce([record("first")]).await.unwrap().base_offset, 0);
    assert_eq!(cluster.log(TOPIC, 0).unwrap().records().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_the_caller_set_in_a_batch_is_replaced_by_the_clients() {
    let (cluster, _client, log) = start(1).await;
    // As a batch that was read elsewhere.
    let copied = |sequence: i32| {
        filled(&["copied"], |header| {
            (header.base_offset, header.partition_leader_epoch) = (700, 12);
            (header.producer_id, header.producer_epoch, header.base_sequence) = (4_711, 3, sequence);
        })
    };
    assert_eq!(log.produce_batch(copied(5)).await.unwrap().base_offset, 0);
    // The broker would refuse a gap in the sequence.
    assert_eq!(log.produce_batch(copied(77)).await.unwrap().base_offset, 1);
    let mut set_late = filled(&["set at the end"], |_| {});
    set_late.set_producer(4_711, 3, 5);
    assert_eq!(log.produce_batch(set_late).await.unwrap().base_offset, 2);
    for batch in cluster.log(TOPIC, 0).unwrap().decoded().unwrap() {
        assert_ne!(batch.header().producer_id, 4_711);
    }
}
