//! The memory of large batches that were sent, for the next ones: fresh memory has to be cleared, and costs page faults.
//!
//! Invariant: a client keeps [`MOST`] buffers at most, none larger than [`LARGEST`], and none after it was closed.

use std::sync::Mutex;

use bytes::BytesMut;
use derive_more::Debug;
use rskafka_cluster::transport::lock;
use rskafka_protocol::records::RecordBatch;

/// Below this size, allocating is cheaper than taking the lock.
const SMALLEST: usize = 64 << 10;
pub(crate) const LARGEST: usize = 1 << 20;
/// As many as one partition client has in flight.
const MOST: usize = 5;

/// `Debug` shows no bytes, which are records of the user.
#[derive(Default, Debug)]
#[debug("Spare({} bytes)", lock(buffers).iter().map(BytesMut::capacity).sum::<usize>())]
pub(crate) struct Spare {
    /// The last one is used next: it may still be in the processor's cache.
    buffers: Mutex<Vec<BytesMut>>,
}

impl Spare {
    /// A buffer with room for so many bytes.
    pub(crate) fn take(&self, bytes: usize) -> BytesMut {
        let kept = if bytes >= SMALLEST { lock(&self.buffers).pop() } else { None };
        kept.filter(|kept| kept.capacity() >= bytes).unwrap_or_else(|| BytesMut::with_capacity(bytes))
    }

    /// Keeps the memory of a batch, unless a request still holds it.
    pub(crate) fn keep(&self, batch: RecordBatch) {
        if (SMALLEST..=LARGEST).contains(&batch.size_in_bytes())
            && let Ok(buffer) = batch.into_bytes().try_into_mut()
            // A batch that grew may have room for far more than it holds.
            && buffer.capacity() <= LARGEST
        {
            let mut kept = lock(&self.buffers);
            if kept.len() < MOST {
                // All at once: no later batch has to allocate for it.
                let more = MOST - kept.len();
                kept.reserve_exact(more);
                kept.push(buffer);
            }
        }
    }

    /// Gives the memory back.
    pub(crate) fn free(&self) {
        *lock(&self.buffers) = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use rskafka_protocol::records::{NewRecord, RecordBatchBuilder};

    use super::*;

    fn batch(buffer: BytesMut, size: usize) -> RecordBatch {
        let mut builder = RecordBatchBuilder::with_buffer(buffer);
        builder.push(NewRecord::new(0, None, Some(&vec![7; size]))).unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn the_memory_of_a_batch_is_used_again_unless_something_still_holds_it() {
        let spare = Spare::default();
        let first = batch(spare.take(LARGEST), SMALLEST);
        let address = first.bytes().as_ptr();
        spare.keep(first);
        let buffer = spare.take(LARGEST);
        assert!(buffer.len() > SMALLEST, "it has the bytes of the first batch");
        let second = batch(buffer, SMALLEST);
        assert_eq!(second.bytes().as_ptr(), address);
        let held = second.bytes().clone();
        spare.keep(second);
        assert_eq!(spare.take(SMALLEST).len(), 0);
        assert_eq!(held, batch(BytesMut::new(), SMALLEST).into_bytes());
    }

    #[test]
    fn memory_that_is_too_large_to_keep_or_too_small_for_the_next_batch_is_given_back() {
        for (size, room) in [(LARGEST + 1, SMALLEST), (SMALLEST, LARGEST)] {
            let spare = Spare::default();
            spare.keep(batch(BytesMut::new(), size));
            assert_eq!(spare.take(room).len(), 0, "{size}");
        }
    }

    #[test]
    fn a_batch_that_grew_beyond_the_largest_room_is_not_kept_however_few_bytes_it_has() {
        let spare = Spare::default();
        let mut buffer = BytesMut::with_capacity(4 * LARGEST);
        buffer.resize(SMALLEST, 0);
        spare.keep(batch(buffer, SMALLEST));
        assert!(spare.take(SMALLEST).capacity() <= LARGEST);
    }

    #[test]
    fn a_client_keeps_the_memory_of_few_batches() {
        let spare = Spare::default();
        for _ in 0..MOST + 3 {
            spare.keep(batch(BytesMut::new(), SMALLEST));
        }
        let kept = (0..MOST + 3).filter(|_| !spare.take(SMALLEST).is_empty()).count();
        assert_eq!(kept, MOST);
    }

    #[test]
    fn memory_that_was_freed_is_not_kept() {
        let spare = Spare::default();
        spare.keep(batch(BytesMut::new(), SMALLEST));
        spare.free();
        assert_eq!(spare.take(SMALLEST).len(), 0);
    }

    #[test]
    fn a_small_batch_neither_takes_the_memory_nor_replaces_it() {
        let spare = Spare::default();
        spare.keep(batch(BytesMut::new(), SMALLEST));
        assert_eq!(spare.take(SMALLEST / 2).len(), 0);
        spare.keep(batch(BytesMut::new(), SMALLEST / 2));
        assert!(spare.take(SMALLEST).len() > SMALLEST);
    }
}
