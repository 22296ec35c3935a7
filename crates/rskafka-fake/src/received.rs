//! What the brokers were asked, and when.
//!
//! Invariant: requests stand in the order of their arrival; when the record is full the oldest go.

use std::collections::VecDeque;

use rskafka_protocol::ApiKey;
use tokio::time::Instant;

/// A request as it came in.
///
/// A broker takes one request at a time from a connection, so a request may arrive long before it is
/// taken: `arrived` says when its last byte was there, `taken` when the broker began to work on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The place in the order of arrival at all brokers, from 0.
    pub sequence: u64,
    /// The broker asked.
    pub broker: i32,
    /// The connection's number, unique in the cluster's life.
    pub connection: u64,
    /// The API called.
    pub api_key: ApiKey,
    /// The version of the request.
    pub api_version: i16,
    /// The number that the answer carries.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
    /// The bytes on the wire, the length prefix included.
    pub size: usize,
    /// When the last byte was there.
    pub arrived: Instant,
    /// When the broker began to work on it; `None` while it waits behind another.
    pub taken: Option<Instant>,
    /// When the answer was given to the connection; `None` before, and for a request without answer.
    pub answered: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Received {
    requests: VecDeque<ReceivedRequest>,
    capacity: usize,
    next_sequence: u64,
}

impl Received {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { requests: VecDeque::new(), capacity, next_sequence: 0 }
    }

    /// Records a request; gives its sequence number.
    pub(crate) fn arrived(&mut self, request: impl FnOnce(u64) -> ReceivedRequest) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.capacity > 0 {
            if self.requests.len() >= self.capacity {
                self.requests.pop_front();
            }
            self.requests.push_back(request(sequence));
        }
        sequence
    }

    /// Completes the record of a request, if it is still kept.
    pub(crate) fn update(&mut self, sequence: u64, change: impl FnOnce(&mut ReceivedRequest)) {
        // The record has no gaps: the place follows from the first sequence number still kept.
        let first = self.requests.front().map_or(0, |request| request.sequence);
        let place = sequence.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| self.requests.get_mut(place)) {
            change(request);
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &ReceivedRequest> {
        self.requests.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.requests.clear();
    }
}
