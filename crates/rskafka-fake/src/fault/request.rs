//! Faults of requests: what a broker does wrong with the next requests that match.
//!
//! Invariant: what goes wrong is decided when a request is taken, before it is applied.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rskafka_protocol::{ApiKey, ErrorCode, Frame, RequestHeader, ResponseHeader};

use super::FaultId;
use crate::random::Random;
use crate::state::{State, TopicRef};

/// A fault of a request, given to [`FakeCluster::inject`](crate::FakeCluster::inject).
///
/// A constructor says what happens, the methods say to which requests. Without any, the fault strikes the next
/// request of any API at any broker, once.
///
/// ```
/// use rskafka_fake::Fault;
/// use rskafka_protocol::{ApiKey, ErrorCode};
///
/// // The first two appends to the partition are refused.
/// let refused = Fault::answer(ErrorCode::NOT_ENOUGH_REPLICAS).on(ApiKey::PRODUCE).partition("wal", 0).times(2);
/// // The third is written, but its answer is lost and the connection with it.
/// let lost = Fault::close().after_applying().on(ApiKey::PRODUCE).partition("wal", 0);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(crate) action: Action,
    pub(crate) applies: bool,
    pub(crate) delay: Duration,
    pub(crate) throttle: Duration,
    pub(super) api_key: Option<ApiKey>,
    pub(super) broker: Option<i32>,
    pub(super) topic: Option<String>,
    pub(super) partition: Option<i32>,
    pub(super) skip: u64,
    /// `None` without end.
    pub(super) times: Option<u64>,
    /// How likely it strikes a request that matches.
    pub(super) chance: f64,
}

/// What happens to the answer.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// It is the true one.
    Truth,
    /// It has this code in every field for a code.
    Code(ErrorCode),
    /// There is none, and the connection stays.
    Swallow,
    /// There is none, and the connection ends.
    Close,
    /// It is changed on its way.
    Tamper(Tamper),
    /// It belongs to other requests.
    Rewrite(Rewrite),
}

type RewriteFn = dyn Fn(&RequestHeader, &Bytes) -> Rewritten + Send + Sync;

/// What a test makes of a request.
#[derive(Clone)]
pub(crate) struct Rewrite(pub(crate) Arc<RewriteFn>);

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

/// What a broker serves instead of a request, and what it answers: see [`Fault::rewrite`].
pub struct Rewritten {
    /// The bodies of the requests that are served, one after the other, under the request's header.
    pub bodies: Vec<Bytes>,
    /// Makes the answer that goes out, if any does, of the answer to the first of them, if it has one. An answer
    /// is a whole frame, with its length and its header.
    pub answer: Box<dyn FnOnce(Option<Bytes>) -> Option<Bytes> + Send>,
}

impl fmt::Debug for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewritten").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

impl Rewritten {
    /// The request as it came, and its true answer.
    pub fn honest(body: &Bytes) -> Self {
        Self { bodies: vec![body.clone()], answer: Box::new(|answer| answer) }
    }
}

/// What is changed in an answer. Positions count from the frame's start, its length prefix included.
#[derive(Debug, Clone)]
pub(crate) enum Tamper {
    Flip { position: usize, mask: u8 },
    Shorten { bytes: usize },
    Lengthen { bytes: Bytes },
    CutAt { position: usize },
    CorrelationId { by: i32 },
    Raw { bytes: Bytes },
}

impl Fault {
    fn new(action: Action, applies: bool) -> Self {
        Self {
            action,
            applies,
            delay: Duration::ZERO,
            throttle: Duration::ZERO,
            api_key: None,
            broker: None,
            topic: None,
            partition: None,
            skip: 0,
            times: Some(1),
            chance: 1.0,
        }
    }

    /// The answer has `code` for each topic and partition of the request. The request is not applied.
    pub fn answer(code: ErrorCode) -> Self {
        Self::new(Action::Code(code), false)
    }

    /// The request gets no answer and is not applied. The connection stays open and serves the requests after it.
    pub fn swallow() -> Self {
        Self::new(Action::Swallow, false)
    }

    /// The connection ends without an answer. The request is not applied.
    pub fn close() -> Self {
        Self::new(Action::Close, false)
    }

    /// The answer comes `delay` late; meanwhile the connection serves nothing else.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Action::Truth, true).delayed_by(delay)
    }

    /// The answer throttles the client for that time, and the broker reads nothing from the connection meanwhile
    /// (KIP-219). The request is applied.
    pub fn throttle(time: Duration) -> Self {
        Self { throttle: time, ..Self::new(Action::Truth, true) }
    }

    /// The bits of `mask` are flipped in one byte of the answer. Position 0 is the first byte of the length prefix,
    /// 4 the first of the correlation id; a position beyond the end means the last byte.
    pub fn flip(position: usize, mask: u8) -> Self {
        Self::new(Action::Tamper(Tamper::Flip { position, mask }), true)
    }

    /// The last `bytes` bytes of the answer are missing, and its length says so: a whole frame that does
    /// not decode.
    pub fn shorten(bytes: usize) -> Self {
        Self::new(Action::Tamper(Tamper::Shorten { bytes }), true)
    }

    /// The answer has these extra bytes at its end, and its length includes them.
    pub fn lengthen(bytes: impl Into<Bytes>) -> Self {
        Self::new(Action::Tamper(Tamper::Lengthen { bytes: bytes.into() }), true)
    }

    /// The connection ends after the first `position` bytes of the answer, length prefix included.
    pub fn cut_at(position: usize) -> Self {
        Self::new(Action::Tamper(Tamper::CutAt { position }), true)
    }

    /// The answer carries another correlation id: the request's plus `by`.
    pub fn wrong_correlation_id(by: i32) -> Self {
        Self::new(Action::Tamper(Tamper::CorrelationId { by }), true)
    }

    /// The broker sends these bytes instead of an answer, e.g. bytes of another protocol.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(Action::Tamper(Tamper::Raw { bytes: bytes.into() }), true)
    }

    /// The broker serves what `rewrite` makes of the request's header and body, and answers what that
    /// makes of the answer. A broker can thus break any promise, to test that a checker notices.
    pub fn rewrite(rewrite: impl Fn(&RequestHeader, &Bytes) -> Rewritten + Send + Sync + 'static) -> Self {
        Self::new(Action::Rewrite(Rewrite(Arc::new(rewrite))), false)
    }

    /// The request is applied first: e.g. a batch is written, but its answer is lost.
    pub fn after_applying(mut self) -> Self {
        self.applies = true;
        self
    }

    /// The request is not applied. This changes nothing for a fault that needs the true answer.
    pub fn before_applying(mut self) -> Self {
        self.applies = matches!(self.action, Action::Truth | Action::Tamper(_));
        self
    }

    /// The fault strikes `delay` later; meanwhile the connection serves nothing else.
    pub fn delayed_by(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Only requests of this API.
    pub fn on(mut self, api_key: ApiKey) -> Self {
        self.api_key = Some(api_key);
        self
    }

    /// Only requests that name this topic, by name or by id.
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.topic = Some(name.into());
        self
    }

    /// Only requests that name this partition. The fault then applies to everything in that request.
    pub fn partition(mut self, topic: impl Into<String>, index: i32) -> Self {
        self.topic = Some(topic.into());
        self.partition = Some(index);
        self
    }

    /// Strikes each request that matches with this probability, above 0 and at most 1. The cluster's seed decides
    /// which requests are struck.
    pub fn by_chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Whether it is for a request of this API at this broker that names these topics and partitions.
    fn matches(&self, api_key: ApiKey, broker: i32, targets: &[(Option<String>, i32)]) -> bool {
        let is_named = |(name, index): &(Option<String>, i32)| {
            *name == self.topic && self.partition.is_none_or(|partition| partition == *index)
        };
        self.api_key.is_none_or(|known| known == api_key)
            && self.broker.is_none_or(|known| known == broker)
            && (self.topic.is_none() || targets.iter().any(is_named))
    }
}

/// The faults that are injected, oldest first.
#[derive(Debug)]
pub(crate) struct RequestFaults {
    pub(super) injected: Vec<Injected>,
    random: Random,
}

#[derive(Debug)]
pub(super) struct Injected {
    pub(super) id: FaultId,
    fault: Fault,
    pub(super) struck: u64,
}

impl Injected {
    fn is_spent(&self) -> bool {
        self.fault.times.is_some_and(|times| self.struck >= times)
    }
}

impl RequestFaults {
    pub(super) fn new(seed: u64) -> Self {
        Self { injected: Vec::new(), random: Random::new(seed) }
    }

    pub(crate) fn inject(&mut self, id: FaultId, fault: Fault) {
        self.injected.push(Injected { id, fault, struck: 0 });
    }

    fn is_idle(&self) -> bool {
        self.injected.iter().all(Injected::is_spent)
    }

    /// The fault that strikes a request, if one does. Topics that do not exist have no name.
    fn strike(&mut self, api_key: ApiKey, broker: i32, targets: &[(Option<String>, i32)]) -> Option<Fault> {
        for injected in &mut self.injected {
            if injected.is_spent() || !injected.fault.matches(api_key, broker, targets) {
                continue;
            }
            if injected.fault.chance < 1.0 && self.random.next_f64() >= injected.fault.chance {
                continue;
            }
            if injected.fault.skip > 0 {
                injected.fault.skip -= 1;
                continue;
            }
            injected.struck += 1;
            return Some(injected.fault.clone());
        }
        None
    }
}

impl State {
    /// What is to go wrong with a request; `targets` are asked for only if something may.
    pub(crate) fn strike(
        &mut self,
        api_key: ApiKey,
        broker: i32,
        targets: impl FnOnce() -> Vec<(TopicRef, i32)>,
    ) -> Option<Fault> {
        if self.faults.requests.is_idle() {
            return None;
        }
        let name_of = |topic: TopicRef| match topic {
            TopicRef::Name(name) => Some(name),
            TopicRef::Id(id) => self.topic_by_id(id).map(|topic| topic.name.clone()),
        };
        let targets: Vec<_> = targets().into_iter().map(|(topic, index)| (name_of(topic), index)).collect();
        self.faults.requests.strike(api_key, broker, &targets)
    }
}

impl Tamper {
    /// Whether the connection ends after the answer.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::CutAt { .. })
    }

    /// What goes out instead of an answer.
    pub(crate) fn apply(self, frame: &Frame) -> Bytes {
        let mut bytes = BytesMut::from(&frame.to_bytes()[..]);
        match self {
            Self::Flip { position, mask } => {
                let last = bytes.len().saturating_sub(1);
                if let Some(byte) = bytes.get_mut(position.min(last)) {
                    *byte ^= mask;
                }
            }
            Self::Shorten { bytes: missing } => {
                bytes.truncate(bytes.len().saturating_sub(missing).max(PREFIX));
                set_length(&mut bytes);
            }
            Self::Lengthen { bytes: extra } => {
                bytes.put(extra);
                set_length(&mut bytes);
            }
            Self::CutAt { position } => bytes.truncate(position),
            Self::CorrelationId { by } => {
                if let Some(id) = ResponseHeader::peek_correlation_id(&bytes[PREFIX..]) {
                    bytes[PREFIX..PREFIX + 4].copy_from_slice(&id.wrapping_add(by).to_be_bytes());
                }
            }
            Self::Raw { bytes: raw } => return raw,
        }
        bytes.freeze()
    }
}

const PREFIX: usize = rskafka_protocol::frame::LENGTH_PREFIX;

fn set_length(frame: &mut BytesMut) {
    let length = i32::try_from(frame.len() - PREFIX).unwrap_or(i32::MAX);
    frame[..PREFIX].copy_from_slice(&length.to_be_bytes());
}
