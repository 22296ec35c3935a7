//! How an append goes out: by the call itself where nothing has to be waited for, and in the order of the calls,
//! no matter which of them sends it.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use rskafka::client::env::Env;
use rskafka::client::{PartitionClient, Produce};
use rskafka::protocol::ApiKey;
use rskafka_fake::Fault;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::common::{read_all, record, values};
use super::kit::{TOPIC, builder, close_connections, fake, start};

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
