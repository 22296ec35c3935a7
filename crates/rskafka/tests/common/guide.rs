//! The guide's two ways to recover, its way to go on after a failure and its group commit (`cargo xtask docs` compares the code, apart from line breaks), run on every cluster.

pub use going_on::a_writer_goes_on_after_what_ended_it as a_writer_goes_on_as_the_guide_does;
pub use together::callers_share_the_batches_of_a_writer as callers_share_batches_as_the_guide_does;
pub use with_wal::the_guides_recovery_with_wal_takes_over as a_database_recovers_as_the_guide_does_with_wal;
pub use without_wal::the_guides_recovery_goes_on as a_database_recovers_as_the_guide_does_without_wal;

mod with_wal {
    // docs/write-ahead-log.md: begin
    use futures_util::StreamExt;
    use rskafka::client::error::ErrorKind;
    use rskafka::record::{Record, RecordAndOffset};
    use rskafka::time::OffsetDateTime;
    use rskafka::wal::{Position, Wal};

    /// What your database has: a state, and a place for snapshots that is as durable as the log.
    trait Store {
        /// The newest snapshot is loaded; gives its position, `Position::START` without one.
        fn load(&mut self) -> std::io::Result<Position>;
        fn apply(&mut self, record: RecordAndOffset);
        /// Stores the state with the position, atomically, unless the position there is the same or a later one (`Position::is_before`).
        fn snapshot(&mut self, position: Position) -> std::io::Result<()>;
    }

    async fn serve(
        wal: &Wal,
        store: &mut impl Store,
        changes: impl Iterator<Item = Vec<Record<String, Vec<u8>, ()>>>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        // 1. Load the snapshot, read what comes after it, and claim the log.
        // No other process has this note, and none had it: it tells our claims from theirs.
        let name = format!("process {} of {}", std::process::id(), OffsetDateTime::now_utc());
        let mut recovery = wal.claim(store.load()?, name.clone()).await?;
        while let Some(read) = recovery.next().await {
            match read {
                Ok(entry) => {
                    for record in entry.into_records() {
                        store.apply(record?);
                    }
                }
                // The cluster is away: what was read need not be read again.
                Err(error) if error.is_retriable() => eprintln!("{error}"),
                // Our own claim, whose answer was lost, came before this one.
                Err(error) if matches!(error.kind(), ErrorKind::ClaimLost { note, .. } if *note == name) => {}
                // Another process has claimed the log meanwhile (also `ClaimLost`), or the log cannot be read.
                Err(error) => return Err(error.into()),
            }
        }
        let writer = recovery.into_writer()?;

        // 2. Append, then apply. This loop waits for each append; a real one starts several, and awaits them in their order.
        for (number, records) in changes.enumerate() {
            let appended = writer.append(records).await?;
            // `appended.offsets` says where the records are: apply them to the state here.

            // 3. Now and then: snapshot first, trim after it. A trim that fails does no harm.
            if number % 1_000 == 999 {
                store.snapshot(appended.position)?;
                if let Err(error) = writer.trim(&appended.position).await {
                    eprintln!("{error}");
                }
            }
        }
        Ok(())
    }
    // docs/write-ahead-log.md: end

    use rskafka::client::OffsetAt;
    use rskafka::protocol::ApiKey;
    use tokio::time::timeout;

    use super::super::{Brokers, PATIENCE, advertised, exclusive, new_log};

    /// So many appends, and there is a snapshot.
    const BETWEEN_SNAPSHOTS: u32 = 1_000;

    /// Its state is how many records there are, and the last value; it has the same for the snapshot.
    #[derive(Default)]
    struct Counting {
        state: (u32, Vec<u8>),
        snapshot: Option<(Position, (u32, Vec<u8>))>,
    }

    impl Store for Counting {
        fn load(&mut self) -> std::io::Result<Position> {
            let (position, state) = self.snapshot.clone().unwrap_or((Position::START, Default::default()));
            self.state = state;
            Ok(position)
        }

        fn apply(&mut self, read: RecordAndOffset) {
            self.state = (self.state.0 + 1, read.record.value.unwrap().to_vec());
        }

        fn snapshot(&mut self, position: Position) -> std::io::Result<()> {
            let is_newer = self.snapshot.as_ref().is_none_or(|(stored, _)| stored.is_before(&position));
            assert!(is_newer, "{position}");
            // The guide's loop applies nothing itself: this is what it has recovered and appended.
            let count = self.state.0 + BETWEEN_SNAPSHOTS;
            self.snapshot = Some((position, (count, b"of the snapshot".to_vec())));
            Ok(())
        }
    }

    /// Appends of one record each, whose values are their numbers.
    fn changes(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Vec<Record<String, Vec<u8>, ()>>> {
        numbers.map(|number| {
            let (key, value) = ("key".to_owned(), number.to_string().into_bytes());
            vec![Record { key, value, headers: (), timestamp: super::super::now() }]
        })
    }

    pub async fn the_guides_recovery_with_wal_takes_over(brokers: Brokers) {
        let (client, log) = new_log(&brokers, "guide").await;
        let wal = exclusive::wal(&client, log.topic()).await;
        let mut store = Counting::default();
        timeout(PATIENCE, serve(&wal, &mut store, changes(0..3))).await.unwrap().unwrap();
        // Another process, or the same after a crash.
        let mut other = Counting::default();
        timeout(PATIENCE, serve(&wal, &mut other, changes(3..5))).await.unwrap().unwrap();
        assert_eq!(other.state, (3, b"2".to_vec()));

        let serving = serve(&wal, &mut other, changes(5..BETWEEN_SNAPSHOTS + 7));
        // A thousand round trips, on brokers that other tests keep busy.
        timeout(4 * PATIENCE, serving).await.unwrap().unwrap();
        let is_trimmed = advertised(&brokers).await.contains_key(&ApiKey::DELETE_RECORDS);
        let (stored, _) = other.snapshot.clone().unwrap();
        let start = log.get_offset(OffsetAt::Earliest).await.unwrap().offset;
        assert_eq!(start, if is_trimmed { stored.offset() } else { 0 });

        let mut third = Counting { snapshot: other.snapshot, ..Counting::default() };
        timeout(PATIENCE, serve(&wal, &mut third, changes(0..0))).await.unwrap().unwrap();
        assert_eq!(third.state, (7 + BETWEEN_SNAPSHOTS, (BETWEEN_SNAPSHOTS + 6).to_string().into_bytes()));
    }
}

pub mod going_on {
    // docs/write-ahead-log.md: begin
    use rskafka::client::error::{ErrorClass, Result};
    use rskafka::record::Record;
    use rskafka::wal::{Appended, Claim, Reclaimed, Writer};

    /// Appends the batches in their order, each once, whatever fails meanwhile, and nothing behind one that is refused. `done` has those that are in the log, also
    /// after an error. Ends early if another process has the log, and then gives its claim.
    async fn append_all(
        writer: &mut Writer,
        batches: &[Vec<Record>],
        done: &mut Vec<Appended>,
    ) -> Result<Option<Claim>> {
        while done.len() < batches.len() {
            // All at once. A real loop limits how many are under way, and keeps the `sequence()` of each with its caller.
            let mut open = Vec::new();
            for records in &batches[done.len()..] {
                let append = writer.append(records.clone());
                // Refused before it was sent, e.g. too large: the writer would go on with the next one.
                let is_refused = append.sequence().is_none();
                open.push(append);
                if is_refused {
                    break;
                }
            }
            let mut failed = None;
            for append in open {
                match append.await {
                    Ok(appended) => done.push(appended),
                    // Those behind the first one fail because of it.
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                }
            }
            let Some(error) = failed else { break };
            let Reclaimed { settled, fenced_by, .. } = reclaim(writer).await?;
            // Those with an unknown outcome that count after all, by their sequences. None counts without all before it.
            done.extend(settled.into_values().flatten());
            if fenced_by.is_some() {
                return Ok(fenced_by);
            }
            if error.class() == ErrorClass::Refused {
                // It would be refused again.
                return Err(error);
            }
        }
        Ok(None)
    }

    async fn reclaim(writer: &mut Writer) -> Result<Reclaimed> {
        loop {
            match writer.reclaim("process 7").await {
                // The cluster is away. If the claim counts all the same, the next call takes it for its own.
                Err(error) if error.is_retriable() => eprintln!("{error}"),
                reclaimed => return reclaimed,
            }
        }
    }
    // docs/write-ahead-log.md: end

    use rskafka::client::error::ErrorKind;
    use rskafka::protocol::ErrorCode;
    use rskafka::wal::Position;
    use tokio::time::timeout;

    use super::super::{Brokers, PATIENCE, exclusive, new_log, now};

    fn batch(value: &&str) -> Vec<Record> {
        let value = Some(value.to_string().into());
        vec![Record { key: None, value, headers: Default::default(), timestamp: now() }]
    }

    pub async fn as_the_guide_appends(
        writer: &mut Writer,
        values: &[&str],
    ) -> (Vec<Appended>, Result<Option<Claim>>) {
        let mut done = Vec::new();
        let ended = append_all(writer, &values.iter().map(batch).collect::<Vec<_>>(), &mut done).await;
        (done, ended)
    }

    pub async fn a_writer_goes_on_after_what_ended_it(brokers: Brokers) {
        let (client, log) = new_log(&brokers, "goes-on").await;
        let wal = exclusive::wal(&client, log.topic()).await;
        let (mut first, _) = exclusive::claim(&wal, Position::START, "first").await;
        // Beyond the topic's limit; then one that the client refuses before it is sent.
        let large = "x".repeat(3 << 20);
        let values = ["a", &large, "b"];
        let appended = as_the_guide_appends(&mut first, &values);
        let (done, ended) = timeout(PATIENCE, appended).await.unwrap();
        let error = ended.unwrap_err();
        assert_eq!((done.len(), error.code()), (1, Some(ErrorCode::MESSAGE_TOO_LARGE)), "{error:?}");
        let mut batches: Vec<_> = ["b", "old", "c"].iter().map(batch).collect();
        batches[1][0].timestamp = rskafka::time::OffsetDateTime::UNIX_EPOCH - PATIENCE;
        let mut done = Vec::new();
        let appended = append_all(&mut first, &batches, &mut done);
        let error = timeout(PATIENCE, appended).await.unwrap().unwrap_err();
        let is_refused = matches!(error.kind(), ErrorKind::InvalidArgument(_));
        assert!(done.len() == 1 && is_refused, "{done:?}, {error:?}");
        let appended = as_the_guide_appends(&mut first, &["c", "d"]);
        let (done, ended) = timeout(PATIENCE, appended).await.unwrap();
        assert!(done.len() == 2 && ended.unwrap().is_none(), "{done:?}");

        let (second, read) = exclusive::claim(&wal, Position::START, "second").await;
        assert_eq!(read, ["a", "b", "c", "d"]);
        let appended = as_the_guide_appends(&mut first, &["e"]);
        let (done, ended) = timeout(PATIENCE, appended).await.unwrap();
        assert_eq!((done, ended.unwrap().as_ref()), (Vec::new(), Some(second.claim())));
    }
}

pub mod together {
    // docs/write-ahead-log.md: begin
    use futures_util::StreamExt;
    use futures_util::stream::FuturesOrdered;
    use rskafka::client::error::{Error, ErrorKind, Result};
    use rskafka::record::Record;
    use rskafka::wal::Writer;
    use tokio::sync::{mpsc, oneshot};

    /// A record, and who waits for its offset.
    type Change = (Record, oneshot::Sender<Result<i64>>);

    /// Appends what many callers send, with so many appends under way at most. Ends when there are no senders any more, or with the error that has ended the
    /// writer, once every caller has its answer. What `Unknown` callers wait for is settled by the next claim: the state has it then, or never will.
    async fn group_commit(writer: &Writer, mut changes: mpsc::Receiver<Change>, most: usize) -> Result<()> {
        let (mut under_way, mut has_senders, mut ended) = (FuturesOrdered::new(), true, Ok(()));
        while has_senders || !under_way.is_empty() {
            let has_room = under_way.len() < most.max(1);
            tokio::select! {
                change = changes.recv(), if has_senders && has_room => {
                    // All that has come since the last append goes into one batch, up to a size that the topic takes with one record more.
                    let (mut records, mut callers, mut size) = (Vec::new(), Vec::new(), 0);
                    let mut taken = change;
                    has_senders = taken.is_some();
                    while let Some((record, caller)) = taken {
                        size += record.value.as_ref().map_or(0, |value| value.len()) + 100;
                        records.push(record);
                        callers.push(caller);
                        taken = if size < 256 << 10 { changes.try_recv().ok() } else { None };
                    }
                    if has_senders {
                        let append = writer.append(records);
                        under_way.push_back(async move { (append.await, callers) });
                    }
                }
                Some((appended, callers)) = under_way.next() => {
                    // In the order of the log: if it is there, apply it to the state here.
                    match &appended {
                        Err(error) if !is_refused(error) => {
                            ended = ended.and(Err(error.clone()));
                            // What was sent before this is refused, and its callers are told.
                            changes.close();
                        }
                        _ => {}
                    }
                    for (number, caller) in callers.into_iter().enumerate() {
                        let offset = appended.as_ref().map(|appended| appended.offsets.start + number as i64);
                        let _ = caller.send(offset.map_err(Error::clone));
                    }
                }
            }
        }
        ended
    }

    /// Whether the writer goes on: nothing was sent. That is the answer to all whose records were in that batch, so check records before they are sent here.
    fn is_refused(error: &Error) -> bool {
        matches!(error.kind(), ErrorKind::InvalidArgument(_) | ErrorKind::BatchTooLarge { .. })
    }
    // docs/write-ahead-log.md: end

    use futures_util::TryStreamExt;
    use futures_util::future::{join, join_all};
    use rskafka::wal::{Entry, Position};
    use tokio::time::timeout;

    use super::super::{Brokers, PATIENCE, exclusive, new_log, now};

    const CALLERS: usize = 500;

    fn record(value: impl Into<rskafka::bytes::Bytes>) -> Record {
        Record { key: None, value: Some(value.into()), headers: Default::default(), timestamp: now() }
    }

    /// What each of many callers is told, and the group commit. `None` where that had ended before.
    async fn call(writer: &Writer, records: Vec<Record>) -> (Vec<Option<Result<i64>>>, Result<()>) {
        let (sender, changes) = mpsc::channel(CALLERS / 10);
        let calls = records.into_iter().map(|record| {
            let sender = sender.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                sender.send((record, answer)).await.ok()?;
                Some(answered.await.expect("no caller is forgotten"))
            }
        });
        let calls = join_all(calls);
        drop(sender);
        timeout(PATIENCE, join(calls, group_commit(writer, changes, 2))).await.unwrap()
    }

    pub async fn callers_share_the_batches_of_a_writer(brokers: Brokers) {
        let (client, log) = new_log(&brokers, "group").await;
        let wal = exclusive::wal(&client, log.topic()).await;
        let (first, _) = exclusive::claim(&wal, Position::START, "first").await;
        let values: Vec<_> = (0..CALLERS).map(|number| number.to_string()).collect();
        let (offsets, ended) = call(&first, values.iter().cloned().map(record).collect()).await;
        ended.unwrap();
        let offsets: Vec<_> = offsets.into_iter().map(|offset| offset.unwrap().unwrap()).collect();
        let end = first.position().offset();
        let entries = wal.read(Position::START).until(end).build().try_collect();
        let entries: Vec<Entry> = timeout(PATIENCE, entries).await.unwrap().unwrap();
        assert!((3..=CALLERS / 5).contains(&entries.len()), "{} batches", entries.len());
        let read = entries.into_iter().flat_map(Entry::into_records).map(Result::unwrap);
        let read: std::collections::BTreeMap<_, _> =
            read.map(|read| (read.offset, read.record.value.unwrap())).collect();
        let found: Vec<_> = offsets.iter().map(|offset| read[offset].clone()).collect();
        assert_eq!(found, values);

        // Together they are more than the topic takes in one batch.
        let large = rskafka::bytes::Bytes::from(vec![b'x'; 32 << 10]);
        let (offsets, ended) = call(&first, vec![record(large); 64]).await;
        assert!(ended.is_ok() && offsets.into_iter().all(|offset| offset.unwrap().is_ok()));
        let end = first.position().offset();

        // A record that is refused costs those beside it their place in this batch, and not the writer.
        let of_1969 =
            Record { timestamp: rskafka::time::OffsetDateTime::UNIX_EPOCH - PATIENCE, ..record("old") };
        let (offsets, ended) = call(&first, vec![record("beside"), of_1969]).await;
        assert!(
            ended.is_ok() && offsets.iter().flatten().all(|offset| offset.as_ref().is_err_and(is_refused))
        );
        let (second, _) = exclusive::claim(&wal, Position::START, "second").await;
        let (offsets, ended) = call(&first, vec![record("late"); CALLERS]).await;
        assert!(matches!(ended.unwrap_err().kind(), ErrorKind::Fenced { .. }));
        assert!(
            offsets.iter().flatten().count() >= CALLERS / 10 && offsets.iter().flatten().all(Result::is_err)
        );
        assert_eq!(second.position().offset(), end + 1);
    }
}

mod without_wal {
    // docs/write-ahead-log.md: begin
    use futures_util::TryStreamExt;
    use rskafka::client::consumer::{Position, StartAt};
    use rskafka::client::error::Result;
    use rskafka::client::{OffsetAt, PartitionClient};
    use rskafka::record::RecordAndOffset;

    /// Applies all that comes after the snapshot, and gives the position to store with the next one.
    async fn recover(
        log: &PartitionClient,
        snapshot: Option<Position>,
        mut apply: impl FnMut(RecordAndOffset),
    ) -> Result<Option<Position>> {
        // As the leader knows it: see above.
        let end = log.get_offset(OffsetAt::Latest).await?.offset;
        let start = snapshot.map_or(StartAt::Earliest, StartAt::Position);
        let mut records = log.stream(start).until(end).build();
        while let Some(read) = records.try_next().await? {
            apply(read);
        }
        Ok(records.position())
    }
    // docs/write-ahead-log.md: end

    use tokio::time::timeout;

    use super::super::{Brokers, PATIENCE, new_log, record, values};

    pub async fn the_guides_recovery_goes_on(brokers: Brokers) {
        let (_client, log) = new_log(&brokers, "guide").await;
        log.produce([record("a"), record("b")]).await.unwrap();
        let mut read = Vec::new();
        let recovering = recover(&log, None, |record| read.push(record));
        let snapshot = timeout(PATIENCE, recovering).await.unwrap().unwrap();
        assert_eq!(values(&read), ["a", "b"]);
        log.produce([record("c")]).await.unwrap();
        // What is stored with the snapshot is text.
        let stored = snapshot.map(|position| position.to_string().parse().unwrap());
        read.clear();
        let recovering = recover(&log, stored, |record| read.push(record));
        let next = timeout(PATIENCE, recovering).await.unwrap().unwrap();
        assert_eq!((values(&read), next.map(|next| next.offset())), (vec!["c".to_owned()], Some(3)));
    }
}
