//! What the bytes of a connection are: requests and answers, TLS records, or nothing that can be told.
//!
//! Invariant: pure; the same bytes give the same moments however they are cut into pieces, and no more
//! than a header is held back to tell what follows.

use std::collections::BTreeMap;

use rskafka::protocol::ApiKey;

use super::fault::{Direction, Moment};

/// A request's length, key, version and correlation id; an answer's length and correlation id fit in it.
const REQUEST_HEADER: usize = 12;
const ANSWER_HEADER: usize = 8;
const TLS_HEADER: usize = 5;
/// Of a frame's length.
const LENGTH: u64 = 4;
/// The first byte of a TLS connection; a request that begins with it would have 369 MB.
const TLS_HANDSHAKE: u8 = 22;
/// A longer frame is none.
const MAX_FRAME: u32 = 200 << 20;
/// Keys above are of no API.
const MAX_KEY: i16 = 1_000;
/// More requests without an answer than any client has; acks=0 never gets one.
const MAX_UNANSWERED: usize = 10_000;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    protocol: Option<Protocol>,
    /// By direction.
    streams: [Stream; 2],
    /// What was asked, by correlation id.
    unanswered: BTreeMap<u32, ApiKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Kafka,
    Tls,
    /// Only bytes can be counted.
    Unknown,
}

#[derive(Debug, Default)]
struct Stream {
    position: u64,
    /// Where the frame or record ends that was begun.
    end: u64,
    /// The request that was begun.
    request: Option<ApiKey>,
    records: u64,
    /// Whether the moments of this position were asked for.
    is_looked_at: bool,
}

impl Streams {
    pub(super) fn position(&self, direction: Direction) -> u64 {
        self.streams[direction as usize].position
    }

    /// What the byte at the position is, of which `bytes` come next; nothing if that was asked before.
    /// `None` if it takes more bytes to tell.
    pub(super) fn moments(&mut self, direction: Direction, bytes: &[u8]) -> Option<Vec<Moment>> {
        if bytes.is_empty() {
            return None;
        }
        let Stream { position, end, is_looked_at, .. } = *self.stream(direction);
        if is_looked_at {
            return Some(Vec::new());
        }
        let mut moments = vec![Moment::Byte(direction, position)];
        if position == end {
            match self.begin(direction, bytes) {
                Begun::Frame(moment) => moments.extend(moment),
                Begun::TooLittle => return None,
                Begun::Unknown => self.protocol = Some(Protocol::Unknown),
            }
        }
        let stream = self.stream(direction);
        stream.is_looked_at = true;
        if let Some(request) = stream.request
            && stream.position + 1 == stream.end
        {
            moments.push(Moment::EndOfRequest(request));
        }
        Some(moments)
    }

    /// Moves on by `bytes`, or less if something may be there before. Gives by how much.
    pub(super) fn advance(&mut self, direction: Direction, bytes: usize) -> usize {
        let is_known = self.protocol != Some(Protocol::Unknown);
        let stream = self.stream(direction);
        let mut to = stream.position + bytes as u64;
        if is_known {
            to = to.min(stream.end);
            if stream.request.is_some() && stream.position + 1 < stream.end {
                to = to.min(stream.end - 1);
            }
        }
        let passed = to - stream.position;
        stream.is_looked_at &= passed == 0;
        stream.position = to;
        // No more than `bytes`, which is a usize.
        passed as usize
    }

    /// Begins a frame or record, of which `bytes` come next.
    fn begin(&mut self, direction: Direction, bytes: &[u8]) -> Begun {
        let first = if bytes.first() == Some(&TLS_HANDSHAKE) { Protocol::Tls } else { Protocol::Kafka };
        let protocol = *self.protocol.get_or_insert(first);
        let needed = match (protocol, direction) {
            (Protocol::Unknown, _) => return Begun::Unknown,
            (Protocol::Tls, _) => TLS_HEADER,
            (Protocol::Kafka, Direction::ToBroker) => REQUEST_HEADER,
            (Protocol::Kafka, Direction::ToClient) => ANSWER_HEADER,
        };
        let Some(header) = bytes.get(..needed) else {
            return Begun::TooLittle;
        };
        let begin = self.stream(direction).position;
        if protocol == Protocol::Tls {
            let stream = self.stream(direction);
            stream.end = begin + TLS_HEADER as u64 + u64::from(be16(&header[3..]));
            stream.records += 1;
            return Begun::Frame(Some(Moment::TlsRecord(direction, stream.records - 1)));
        }
        let length = be32(header);
        let end = begin + LENGTH + u64::from(length);
        if length > MAX_FRAME || end < begin + needed as u64 {
            return Begun::Unknown;
        }
        if direction == Direction::ToClient {
            self.stream(direction).end = end;
            return Begun::Frame(self.unanswered.remove(&be32(&header[4..])).map(Moment::Answer));
        }
        let api = ApiKey(be16(&header[4..]).cast_signed());
        if !(0..=MAX_KEY).contains(&api.0) {
            return Begun::Unknown;
        }
        let stream = self.stream(direction);
        (stream.end, stream.request) = (end, Some(api));
        self.unanswered.insert(be32(&header[8..]), api);
        if self.unanswered.len() > MAX_UNANSWERED {
            self.unanswered.pop_first();
        }
        Begun::Frame(Some(Moment::Request(api)))
    }

    fn stream(&mut self, direction: Direction) -> &mut Stream {
        &mut self.streams[direction as usize]
    }
}

/// What a frame or record begins with.
enum Begun {
    Frame(Option<Moment>),
    TooLittle,
    Unknown,
}

fn be16(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
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

    /// The moments of all bytes, without [`Moment::Byte`], by position; fed in pieces of `piece` bytes.
    fn moments(
        streams: &mut Streams,
        direction: Direction,
        bytes: &[u8],
        piece: usize,
    ) -> Vec<(u64, Moment)> {
        let mut found = Vec::new();
        let (mut come, mut passed) = (0, 0);
        while passed < bytes.len() {
            let Some(new) = streams.moments(direction, &bytes[passed..come]) else {
                assert!(come < bytes.len(), "all bytes are there, and it asks for more");
                come = (come + piece).min(bytes.len());
                continue;
            };
            let position = streams.position(direction);
            let new = new.into_iter().filter(|moment| !matches!(moment, Moment::Byte(..)));
            found.extend(new.map(|moment| (position, moment)));
            passed += streams.advance(direction, come - passed);
        }
        found
    }

    #[test]
    fn requests_and_answers_are_told_apart_however_the_bytes_come() {
        let requests = [
            request(ApiKey::API_VERSIONS, 0, 1),
            request(ApiKey::PRODUCE, 1, 30),
            request(ApiKey::FETCH, 2, 0),
        ];
        let answers = [answer(0, 5), answer(1, 0), answer(7, 3), answer(2, 100)];
        for piece in 1..60 {
            let mut streams = Streams::default();
            assert_eq!(
                moments(&mut streams, TO_BROKER, &requests.concat(), piece),
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
                moments(&mut streams, TO_CLIENT, &answers.concat(), piece),
                [
                    (0, Moment::Answer(ApiKey::API_VERSIONS)),
                    (13, Moment::Answer(ApiKey::PRODUCE)),
                    (32, Moment::Answer(ApiKey::FETCH)),
                ]
            );
        }
    }

    #[test]
    fn tls_records_are_counted() {
        let records = [record(22, 300), record(20, 1), record(23, 40)].concat();
        for piece in 1..400 {
            let mut streams = Streams::default();
            for direction in [TO_BROKER, TO_CLIENT] {
                let at = |n| Moment::TlsRecord(direction, n);
                assert_eq!(
                    moments(&mut streams, direction, &records, piece),
                    [(0, at(0)), (305, at(1)), (311, at(2))]
                );
            }
        }
    }

    #[test]
    fn bytes_of_another_protocol_are_passed_on_all_the_same() {
        let mut streams = Streams::default();
        let bytes = b"\x05\x01\x00 and so on, for longer than a header";
        assert_eq!(moments(&mut streams, TO_BROKER, bytes, 3), []);
        assert_eq!(moments(&mut streams, TO_CLIENT, bytes, 3), []);
        assert_eq!(streams.position(TO_CLIENT), bytes.len() as u64);
    }
}
