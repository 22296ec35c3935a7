//! What one connection of a client is held to: how long it takes to open, how long a request may wait for its answer,
//! and that nothing is sent while the broker wants silence (KIP-219).
//!
//! Invariant: pure. Reports only what is certainly wrong, and once.

use std::time::Duration;

use bytes::Bytes;
use rskafka::protocol::messages::api_versions::ApiVersionsRequest;
use rskafka::protocol::messages::fetch::FetchResponse;
use rskafka::protocol::messages::produce::ProduceResponse;
use rskafka::protocol::{ApiKey, Message, RequestHeader, decode_response};

use super::frames::{Frame, Request};
use super::options::Options;
use super::rules::{Finding, Wrong};

/// How late anything may be: timers have milliseconds.
const SLACK: Duration = Duration::from_millis(10);
/// How long a connection that the client ends may take to finish a partly written request.
const LINGER: Duration = Duration::from_secs(1);
/// An answer to a fetch that is as long has records.
const MOST_WITHOUT_RECORDS: usize = 400;
/// The longest wait of a fetch.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A request that was sent, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) at: Duration,
    /// Whether it asks the broker to confirm that it is the one the client means (KIP-1242).
    names_broker: bool,
}

impl Asked {
    pub(super) fn new(frame: &Frame<'_>, at: Duration) -> Self {
        let request = frame.request();
        let names_broker = || {
            let (header, body) = RequestHeader::decode(&frame.body()).ok()?;
            ApiVersionsRequest::decode(header.api_version, &body).ok()?.cluster_id
        };
        let names_broker = ApiKey(request.key) == ApiKey::API_VERSIONS && names_broker().is_some();
        Self { request, at, names_broker }
    }
}

/// Follows one connection; times count from the beginning of the run.
#[derive(Debug)]
pub(super) struct Wire {
    options: Options,
    began: Duration,
    /// Whether the client has seen which cluster the connection leads to.
    pub(super) is_open: bool,
    /// Until when nothing may be sent.
    silent_until: Option<Duration>,
    was_silent: bool,
}

impl Wire {
    pub(super) fn new(options: Options, began: Duration) -> Self {
        Self { options, began, is_open: false, silent_until: None, was_silent: false }
    }

    /// The first byte of a request is about to go out.
    pub(super) fn begins(&mut self, now: Duration) -> Option<Finding> {
        let until = self.silent_until.take().filter(|until| now < *until)?;
        let what = format!("a request began {:?} before the silence was over", until - now);
        Some(Finding { wrong: Wrong::NotSilent, what })
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, asked: Asked, answer: &Frame<'_>, now: Duration) -> Option<Finding> {
        let opens = match ApiKey(asked.request.key) {
            ApiKey::METADATA => true,
            ApiKey::API_VERSIONS => asked.names_broker && answer.begins_with_ok(),
            _ => false,
        };
        if opens && !self.is_open {
            self.is_open = true;
            return self.check_opening(now, Duration::ZERO);
        }
        self.check_request(asked, now, Duration::ZERO)
    }

    /// The client has an answer that asks for silence.
    pub(super) fn silence(&mut self, now: Duration, time: Duration) {
        self.was_silent = true;
        self.silent_until = self.silent_until.max(Some(now + time));
    }

    /// The connection is over, with this request unanswered.
    pub(super) fn ends(&self, unanswered: Option<Asked>, now: Duration) -> Option<Finding> {
        if !self.is_open {
            return self.check_opening(now, LINGER);
        }
        self.check_request(unanswered?, now, LINGER)
    }

    fn check_opening(&self, now: Duration, more: Duration) -> Option<Finding> {
        late("a connection was opened", now - self.began, self.options.connect_timeout, more)
    }

    fn check_request(&self, asked: Asked, now: Duration, more: Duration) -> Option<Finding> {
        let api = ApiKey(asked.request.key);
        // While a connection is being opened, the opening as a whole has the limit. A silence moves the deadlines of
        // waiting requests.
        if self.was_silent || api == ApiKey::API_VERSIONS {
            return None;
        }
        let wait = match api {
            ApiKey::FETCH => LONGEST_WAIT,
            // So long the broker may take for it.
            ApiKey::DELETE_RECORDS => self.options.request_timeout,
            _ => Duration::ZERO,
        };
        late("a request waited", now - asked.at, self.options.request_timeout + wait, more)
    }
}

fn late(what: &str, took: Duration, limit: Duration, more: Duration) -> Option<Finding> {
    let what = || format!("{what} for {took:?}, its limit is {limit:?}");
    (took > limit + more + SLACK).then(|| Finding { wrong: Wrong::Overdue, what: what() })
}

/// For how long an answer asks its client to be silent. Before the versions listed here, brokers were silent
/// themselves.
pub(super) fn throttle(request: Request, answer: &Frame<'_>) -> Duration {
    let millis = match (ApiKey(request.key), request.version) {
        (ApiKey::FETCH, version @ 8..) => answer.i32_behind_header(version >= 12),
        (ApiKey::LIST_OFFSETS, version @ 3..) => answer.i32_behind_header(version >= 6),
        (ApiKey::METADATA, version @ 6..) => answer.i32_behind_header(version >= 9),
        (ApiKey::PRODUCE, version @ 6..) => decode_response::<ProduceResponse>(version, &answer.body())
            .ok()
            .map(|(_, it)| it.throttle_time_ms),
        _ => None,
    };
    Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0))
}

/// Whether an answer is one to a fetch, and has no records.
pub(super) fn finds_nothing(request: Request, answer: &Frame<'_>) -> bool {
    let has_none = |(_, response): (_, FetchResponse)| {
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.all(|partition| partition.records.as_ref().is_none_or(Bytes::is_empty))
    };
    ApiKey(request.key) == ApiKey::FETCH
        && answer.0.len() < MOST_WITHOUT_RECORDS
        && decode_response(request.version, &answer.body()).is_ok_and(has_none)
}

#[cfg(test)]
mod tests {
    use rskafka::protocol::messages::api_versions::ApiVersionsResponse;
    use rskafka::protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
    use rskafka::protocol::{ErrorCode, encode_request, encode_response};

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn wire() -> Wire {
        Wire::new(Options::of_seed(0), ms(100))
    }

    fn request(api: ApiKey, version: i16) -> Request {
        Request { key: api.0, version, correlation_id: 7 }
    }

    fn asked(api: ApiKey, at: u64) -> Asked {
        Asked { request: request(api, 9), at: ms(at), names_broker: false }
    }

    fn answer() -> Frame<'static> {
        framed(&ApiVersionsResponse::default(), 5)
    }

    fn wrong(finding: Option<Finding>) -> Option<Wrong> {
        finding.map(|finding| finding.wrong)
    }

    #[test]
    fn what_is_sent_before_a_silence_is_over_is_found() {
        let mut wire = wire();
        wire.silence(ms(200), ms(50));
        assert_eq!(wrong(wire.begins(ms(249))), Some(Wrong::NotSilent));
        wire.silence(ms(300), ms(50));
        assert_eq!(wire.begins(ms(350)), None);
        wire.silence(ms(400), ms(0));
        assert_eq!(wire.begins(ms(400)), None);
    }

    #[test]
    fn an_answer_that_was_waited_for_too_long_is_found() {
        let limit = Options::of_seed(0).request_timeout;
        let mut wire = wire();
        assert_eq!(wire.answered(asked(ApiKey::METADATA, 100), &answer(), ms(200)), None);
        assert_eq!(wire.answered(asked(ApiKey::PRODUCE, 200), &answer(), ms(200) + limit), None);
        let late = ms(300) + limit;
        assert_eq!(wrong(wire.answered(asked(ApiKey::PRODUCE, 200), &answer(), late)), Some(Wrong::Overdue));
        assert_eq!(wrong(wire.ends(Some(asked(ApiKey::PRODUCE, 200)), late + LINGER)), Some(Wrong::Overdue));
        assert_eq!(wire.ends(None, late + LINGER), None);
        assert_eq!(wire.answered(asked(ApiKey::FETCH, 200), &answer(), late), None);
        wire.silence(ms(200), ms(50));
        assert_eq!(wire.answered(asked(ApiKey::PRODUCE, 200), &answer(), late), None);
    }

    #[test]
    fn a_connection_that_opens_for_too_long_is_found() {
        let limit = Options::of_seed(0).connect_timeout;
        assert_eq!(wrong(wire().ends(None, ms(200) + limit + LINGER)), Some(Wrong::Overdue));
        assert_eq!(wire().ends(None, ms(100) + limit + LINGER), None);
        let late = ms(200) + limit;
        assert_eq!(
            wrong(wire().answered(asked(ApiKey::METADATA, 100), &answer(), late)),
            Some(Wrong::Overdue)
        );
    }

    #[test]
    fn a_connection_is_open_when_the_broker_has_confirmed_that_it_is_the_one() {
        let ask = |cluster_id: Option<&str>| {
            let request =
                ApiVersionsRequest { cluster_id: cluster_id.map(str::to_owned), ..Default::default() };
            Asked::new(
                &Frame(encode_request(&request, 5, 7, None).unwrap().to_bytes().to_vec().leak()),
                ms(100),
            )
        };
        let denied =
            ApiVersionsResponse { error_code: ErrorCode::REBOOTSTRAP_REQUIRED, ..Default::default() };
        for (asked, answer, opens) in [
            (ask(Some("cluster")), answer(), true),
            (ask(Some("cluster")), framed(&denied, 5), false),
            (ask(None), answer(), false),
        ] {
            let mut wire = wire();
            assert_eq!(wire.answered(asked, &answer, ms(110)), None);
            assert_eq!(wire.is_open, opens);
        }
    }

    fn framed<M: Message>(message: &M, version: i16) -> Frame<'static> {
        Frame(encode_response(message, version, 7).unwrap().to_bytes().to_vec().leak())
    }

    #[test]
    fn a_throttle_is_read_from_the_answers_whose_client_is_to_wait() {
        let fetched = FetchResponse { throttle_time_ms: 70, ..Default::default() };
        for (version, expected) in [(7, 0), (8, 70), (11, 70), (12, 70), (17, 70)] {
            let found = throttle(request(ApiKey::FETCH, version), &framed(&fetched, version));
            assert_eq!(found, ms(expected), "version {version}");
        }
        let partition = PartitionProduceResponse { base_offset: 5, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
        let produced = ProduceResponse { responses: vec![topic], throttle_time_ms: 70, ..Default::default() };
        for (version, expected) in [(5, 0), (6, 70), (9, 70), (13, 70)] {
            let found = throttle(request(ApiKey::PRODUCE, version), &framed(&produced, version));
            assert_eq!(found, ms(expected), "version {version}");
        }
    }
}
