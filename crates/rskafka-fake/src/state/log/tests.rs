use super::*;

fn span(log: &Log, offset: i64, max_bytes: usize, at_least_one: bool) -> Span {
    Span { offset, end: log.end_offset(), max_bytes, at_least_one }
}

fn read(log: &Log, offset: i64, max_bytes: usize, at_least_one: bool) -> Bytes {
    log.read(span(log, offset, max_bytes, at_least_one)).0
}

fn readable(log: &Log, offset: i64, max_bytes: usize, at_least_one: bool) -> usize {
    log.readable(span(log, offset, max_bytes, at_least_one))
}

/// Batches of two records and the given sizes; each byte is the batch's number.
fn log(sizes: &[usize]) -> Log {
    let mut log = Log::default();
    for (number, &size) in sizes.iter().enumerate() {
        let base_offset = log.end_offset();
        log.append(Stored {
            base_offset,
            last_offset: base_offset + 1,
            max_timestamp: 0,
            leader_epoch: 0,
            origin: None,
            bytes: Bytes::from(vec![number as u8; size]),
        });
    }
    log
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let log = log(&[10, 20, 30]);
    for (offset, first, length) in [(0, 0, 60), (1, 0, 60), (2, 1, 50), (3, 1, 50), (5, 2, 30)] {
        let bytes = read(&log, offset, 1000, true);
        assert_eq!((bytes[0], bytes.len()), (first, length), "offset {offset}");
    }
    assert!(read(&log, 6, 1000, true).is_empty());
}

#[test]
fn a_first_batch_that_is_too_large_comes_whole_and_alone_or_not_at_all() {
    let log = log(&[10, 20]);
    assert_eq!(read(&log, 0, 5, true).len(), 10);
    assert_eq!(read(&log, 0, 5, false).len(), 0);
    assert_eq!(read(&log, 0, 10, false).len(), 10);
}

#[test]
fn the_last_batch_is_cut_off_at_the_limit() {
    let log = log(&[10, 20, 30]);
    let bytes = read(&log, 0, 12, true);
    assert_eq!(bytes, [&[0; 10][..], &[1; 2]].concat());
    assert_eq!(read(&log, 0, 30, true).len(), 30);
}

#[test]
fn a_read_within_one_batch_copies_nothing() {
    let log = log(&[10, 20]);
    assert_eq!(read(&log, 2, 1000, true).as_ptr(), log.batches[1].bytes.as_ptr());
}

#[test]
fn retention_drops_the_oldest_batches_and_moves_the_start() {
    let mut log = log(&[10, 20, 30]);
    log.retain_bytes(50, log.end_offset());
    assert_eq!((log.start_offset(), readable(&log, 0, 1000, true)), (2, 50));
    log.retain_bytes(0, log.end_offset());
    assert_eq!((log.start_offset(), log.end_offset(), readable(&log, 0, 1000, true)), (4, 6, 30));
}

#[test]
fn deletion_within_a_batch_keeps_that_batch() {
    let mut log = log(&[10, 20]);
    log.delete_before(3);
    assert_eq!((log.start_offset(), readable(&log, 0, 1000, true)), (3, 20));
    log.delete_before(1);
    assert_eq!(log.start_offset(), 3, "the start never goes back");
    log.delete_before(100);
    assert_eq!((log.start_offset(), readable(&log, 0, 1000, true)), (4, 0));
}

#[test]
fn the_epoch_of_the_start_follows_the_start_and_skips_epochs_without_records() {
    let mut log = Log::default();
    assert_eq!(log.start_epoch(), -1);
    for epoch in [0, 1] {
        log.begin_epoch(epoch);
    }
    assert_eq!(log.start_epoch(), 1);
    let append = |log: &mut Log| {
        let base_offset = log.end_offset();
        let bytes = Bytes::from_static(b"batch");
        log.append(Stored {
            base_offset,
            last_offset: base_offset,
            max_timestamp: 0,
            leader_epoch: 0,
            origin: None,
            bytes,
        });
    };
    append(&mut log);
    log.begin_epoch(2);
    log.begin_epoch(3);
    append(&mut log);
    assert_eq!(log.start_epoch(), 1);
    log.delete_before(1);
    assert_eq!(log.start_epoch(), 3);
    log.delete_before(2);
    assert_eq!(log.start_epoch(), 3);
}

#[test]
fn a_log_that_compaction_left_gaps_in_is_truncated_and_followed() {
    let mut leader = log(&[1, 1, 1, 1]);
    leader.rewrite(|batch| (!matches!(batch.base_offset, 2 | 6)).then(|| batch.bytes.clone()));
    let mut follower = log(&[1]);
    leader.batches_from(follower.end_offset()).for_each(|batch| follower.append(batch.clone()));
    assert_eq!((leader.end_offset(), follower.end_offset()), (8, 6));
    for (offset, end) in [(7, 7), (5, 4), (3, 3), (1, 0)] {
        leader.truncate(offset);
        assert_eq!(leader.end_offset(), end, "cut at {offset}");
    }
}

#[test]
fn what_compaction_removed_from_two_logs_is_the_same_in_both() {
    let mut follower = log(&[1, 1, 1]);
    follower.rewrite(|_| None);
    let mut leader = log(&[1, 1, 1]);
    leader.rewrite(|_| None);
    assert_eq!(follower.common_end(&leader), 6);
    leader.truncate(5);
    assert_eq!(follower.common_end(&leader), 5);
}
