//! What the bytes of a connection are: requests and answers, TLS records, or nothing that can be told.
//!
//! Invariant: pure; a header is all that has to be known of a frame.

use std::collections::BTreeMap;

use rskafka::protocol::ApiKey;

use super::fault::{Direction, Moment};
use crate::sim::frames::{Request, u32_at};

/// A request's length, key, version and correlation id; an answer's length and correlation id fit in it.
const REQUEST_HEADER: u64 = 12;
const ANSWER_HEADER: u64 = 8;
const TLS_HEADER: u64 = 5;
/// Of a frame's length.
const LENGTH: u64 = 4;
/// The first byte of a TLS connection; a request that begins with it would have 369 MB.
const TLS_HANDSHAKE: u8 = 22;
/// No frame is longer.
const MAX_FRAME: u32 = 200 << 20;
/// No API has a larger key.
const MAX_KEY: i16 = 1_000;
/// More requests without an answer than any client has; acks=0 never gets one.
const MAX_UNANSWERED: usize = 10_000;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    protocol: Option<Protocol>,
    /// TLS records so far, by direction.
    records: [u64; 2],
    /// Requests without an answer, by correlation id.
    unanswered: BTreeMap<u32, ApiKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Kafka,
    Tls,
    /// The rest of the connection is passed on as it comes.
    Unknown,
}

/// A frame or TLS record that begins, or all of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// Its bytes, header included.
    pub(super) length: u64,
    /// What its first byte is, and its last.
    pub(super) first: Option<Moment>,
    pub(super) last: Option<Moment>,
}

impl Streams {
    /// How many bytes tell what begins with this byte.
    pub(super) fn header_length(&mut self, direction: Direction, first: u8) -> u64 {
        let protocol = if first == TLS_HANDSHAKE { Protocol::Tls } else { Protocol::Kafka };
        match (*self.protocol.get_or_insert(protocol), direction) {
            (Protocol::Unknown, _) => 0,
            (Protocol::Tls, _) => TLS_HEADER,
            (Protocol::Kafka, Direction::ToBroker) => REQUEST_HEADER,
            (Protocol::Kafka, Direction::ToClient) => ANSWER_HEADER,
        }
    }

    /// What begins with this header, which is shorter than it should be only at the end of the stream.
    pub(super) fn begin(&mut self, direction: Direction, header: &[u8]) -> Begun {
        self.begun(direction, header).unwrap_or_else(|| {
            self.protocol = Some(Protocol::Unknown);
            Begun { length: u64::MAX, first: None, last: None }
        })
    }

    fn begun(&mut self, direction: Direction, header: &[u8]) -> Option<Begun> {
        if header.len() as u64 != self.header_length(direction, *header.first()?) {
            return None;
        }
        if self.protocol == Some(Protocol::Tls) {
            let records = &mut self.records[direction as usize];
            let first = Some(Moment::TlsRecord(direction, *records));
            *records += 1;
            let length = TLS_HEADER + u64::from(u32_at(header, 1) & 0xffff);
            return Some(Begun { length, first, last: None });
        }
        let length = u32_at(header, 0);
        let whole = LENGTH + u64::from(length);
        if length > MAX_FRAME || whole < header.len() as u64 {
            return None;
        }
        if direction == Direction::ToClient {
            let first = self.unanswered.remove(&u32_at(header, 4)).map(Moment::Answer);
            return Some(Begun { length: whole, first, last: None });
        }
        let Request { key, correlation_id, .. } = Request::of(header);
        let api = ApiKey(key);
        if !(0..=MAX_KEY).contains(&api.0) {
            return None;
        }
        self.unanswered.insert(correlation_id, api);
        if self.unanswered.len() > MAX_UNANSWERED {
            self.unanswered.pop_first();
        }
        let (first, last) = (Some(Moment::Request(api)), Some(Moment::EndOfRequest(api)));
        Some(Begun { length: whole, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_BROKER: Direction = Direction::ToBroker;
    const TO_CLIENT: Direction = Direction::ToClient;

    fn request(api: ApiKey, id: i32, body: usize) -> Vec<u8> {
        let mut frame = vec![0; 12 + body];
        frame[..4].copy_from_slice(&(8 + body as u32).to_be_bytes());
        frame[4..6].copy_from_slice(&api.0.to_be_bytes());
        frame[8..12].copy_from_slice(&id.to_be_bytes());
        frame
    }

    fn answer(id: i32, body: usize) -> Vec<u8> {
        let mut frame = vec![0; 8 + body];
        frame[..4].copy_from_slice(&(4 + body as u32).to_be_bytes());
        frame[4..8].copy_from_slice(&id.to_be_bytes());
        frame
    }

    fn record(kind: u8, body: usize) -> Vec<u8> {
        let mut record = vec![kind, 3, 3, 0, 0];
        record[3..5].copy_from_slice(&(body as u16).to_be_bytes());
        record.resize(5 + body, 7);
        record
    }

    /// The moments of all bytes, by position.
    fn moments(streams: &mut Streams, direction: Direction, bytes: &[u8]) -> Vec<(u64, Moment)> {
        let (mut found, mut position) = (Vec::new(), 0);
        while let Some(&first) = bytes.get(position) {
            let header = position + streams.header_length(direction, first) as usize;
            let begun = streams.begin(direction, &bytes[position..header.min(bytes.len())]);
            found.extend(begun.first.map(|moment| (position as u64, moment)));
            position = position.saturating_add(begun.length as usize);
            found.extend(begun.last.map(|moment| (position as u64 - 1, moment)));
        }
        found
    }

    #[test]
    fn requests_and_answers_are_told_apart() {
        let requests = [
            request(ApiKey::API_VERSIONS, 0, 1),
            request(ApiKey::PRODUCE, 1, 30),
            request(ApiKey::FETCH, 2, 0),
        ];
        let answers = [answer(0, 5), answer(1, 0), answer(7, 3), answer(2, 100)];
        let mut streams = Streams::default();
        assert_eq!(
            moments(&mut streams, TO_BROKER, &requests.concat()),
            [
                (0, Moment::Request(ApiKey::API_VERSIONS)),
                (12, Moment::EndOfRequest(ApiKey::API_VERSIONS)),
                (13, Moment::Request(ApiKey::PRODUCE)),
                (54, Moment::EndOfRequest(ApiKey::PRODUCE)),
                (55, Moment::Request(ApiKey::FETCH)),
                (66, Moment::EndOfRequest(ApiKey::FETCH)),
            ]
        );
        assert_eq!(
            moments(&mut streams, TO_CLIENT, &answers.concat()),
            [
                (0, Moment::Answer(ApiKey::API_VERSIONS)),
                (13, Moment::Answer(ApiKey::PRODUCE)),
                (32, Moment::Answer(ApiKey::FETCH)),
            ]
        );
    }

    #[test]
    fn tls_records_are_counted() {
        let records = [record(22, 300), record(20, 1), record(23, 40)].concat();
        let mut streams = Streams::default();
        for direction in [TO_BROKER, TO_CLIENT] {
            let at = |n| Moment::TlsRecord(direction, n);
            assert_eq!(moments(&mut streams, direction, &records), [(0, at(0)), (305, at(1)), (311, at(2))]);
        }
    }

    #[test]
    fn bytes_of_another_protocol_are_passed_on_all_the_same() {
        let mut streams = Streams::default();
        let bytes = b"\x05\x01\x00 and so on, for longer than a header";
        assert_eq!(moments(&mut streams, TO_BROKER, bytes), []);
        assert_eq!(streams.protocol, Some(Protocol::Unknown));
        assert_eq!(moments(&mut streams, TO_CLIENT, bytes), []);
        assert_eq!(streams.header_length(TO_CLIENT, TLS_HANDSHAKE), 0);
    }
}
