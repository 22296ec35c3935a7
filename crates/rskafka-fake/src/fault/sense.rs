//! Whether a fault makes sense: one that could never strike, or would change nothing, is a mistake of the test.
//!
//! Invariant: what is refused here could not have been seen to happen.

use rskafka_protocol::ApiKey;

use super::bytes::{ByteAction, ByteFault};
use super::request::{Action, Fault, Tamper};

/// APIs whose requests name no topics.
const WITHOUT_TOPICS: [ApiKey; 6] = [
    ApiKey::FIND_COORDINATOR,
    ApiKey::SASL_HANDSHAKE,
    ApiKey::API_VERSIONS,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::SASL_AUTHENTICATE,
    ApiKey::DESCRIBE_CLUSTER,
];
/// APIs whose requests name partitions.
const WITH_PARTITIONS: [ApiKey; 6] = [
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::DELETE_RECORDS,
    ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ApiKey::DESCRIBE_PRODUCERS,
];

impl Fault {
    /// Whether it could strike something and change it. The error says in words why not; `speaks` knows the
    /// APIs of the cluster.
    pub(crate) fn check(&self, speaks: impl Fn(ApiKey) -> bool) -> Result<(), String> {
        let changes_something = match &self.action {
            Action::Truth => !self.delay.is_zero() || !self.throttle.is_zero(),
            Action::Tamper(tamper) => tamper.changes_something(),
            Action::Code(_) | Action::Swallow | Action::Close | Action::Rewrite(_) => true,
        };
        if !changes_something {
            return Err("a fault that changes nothing".to_owned());
        } else if self.times == Some(0) {
            return Err("a fault that strikes 0 times".to_owned());
        } else if !(self.chance > 0.0 && self.chance <= 1.0) {
            return Err(format!("a fault with a chance of {}", self.chance));
        } else if let Some(index) = self.partition.filter(|index| *index < 0) {
            return Err(format!("a fault of partition {index}"));
        }
        let Some(api_key) = self.api_key else {
            return Ok(());
        };
        if !speaks(api_key) {
            return Err(format!("a fault of {api_key}, which these brokers do not speak"));
        } else if self.topic.is_some() && WITHOUT_TOPICS.contains(&api_key) {
            return Err(format!("a fault of a topic, on {api_key}, which names none"));
        } else if self.partition.is_some() && !WITH_PARTITIONS.contains(&api_key) {
            return Err(format!("a fault of a partition, on {api_key}, which names none"));
        }
        Ok(())
    }
}

impl Tamper {
    fn changes_something(&self) -> bool {
        match self {
            Self::Flip { mask, .. } => *mask != 0,
            Self::Shorten { bytes } => *bytes != 0,
            Self::Lengthen { bytes } => !bytes.is_empty(),
            Self::CorrelationId { by } => *by != 0,
            Self::CutAt { .. } | Self::Raw { .. } => true,
        }
    }
}

impl ByteFault {
    /// Whether it could strike something and change it. The error says in words why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let changes_something = match self.action {
            ByteAction::Hold(Some(time)) => !time.is_zero(),
            ByteAction::Flip(mask) => mask != 0,
            ByteAction::End { .. } | ByteAction::Hold(None) | ByteAction::Slow { .. } => true,
        };
        if !changes_something {
            return Err("a fault that changes nothing".to_owned());
        } else if self.times == Some(0) {
            return Err("a fault that strikes 0 times".to_owned());
        } else if self.place.is_empty() {
            return Err(format!("a fault at a byte within {:?}", self.place));
        }
        Ok(())
    }
}
