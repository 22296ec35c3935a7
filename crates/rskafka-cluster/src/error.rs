//! Why an attempt, or a whole call, failed.

use std::fmt;
use std::time::Duration;

use rskafka_protocol::ErrorCode;
use rskafka_transport::{CallError, Endpoint, Nature, OpenError, Phase, WithCauses};
use snafu::Snafu;

use crate::Attempts;

/// Why one attempt failed.
#[derive(Debug, Clone, Snafu)]
#[non_exhaustive]
pub enum Failure {
    /// No connection to the broker.
    #[snafu(display("no connection"))]
    Open {
        /// What went wrong, and in which phase.
        source: OpenError,
    },
    /// A connection, but no usable answer.
    #[snafu(display("no usable answer"))]
    Call {
        /// What went wrong.
        source: CallError,
    },
    /// A new connection broke before the client knew which cluster it leads to.
    #[snafu(display("no answer to which cluster it belongs{}", match may_want_sasl {
        true => ": the broker may ask for SASL, which this client does not use; configure it, or choose another port",
        false => "",
    }))]
    Identity {
        /// Whether the broker closed the connection on a client without SASL, as it does where it asks for it.
        may_want_sasl: bool,
        /// What went wrong.
        source: CallError,
    },
    /// A broker answered a Metadata request with an error code.
    #[snafu(display("the broker answered {code} when asked for metadata"))]
    Metadata {
        /// The answer's error code.
        code: ErrorCode,
    },
    /// The address belongs to another cluster. The request was not sent there.
    #[snafu(display(
        "the address belongs to another cluster, {found:?} instead of {expected:?}: check the brokers' \
        addresses, and whether a name leads elsewhere now"
    ))]
    OtherCluster {
        /// The id of the cluster that the client was connected to first.
        expected: String,
        /// The id of the cluster that answered.
        found: String,
    },
    /// The address now belongs to another broker of the cluster.
    #[snafu(display("the address belongs to broker {found} now, not to broker {expected}"))]
    OtherBroker {
        /// The broker that was expected there.
        expected: i32,
        /// The broker that has the address.
        found: i32,
    },
    /// The broker answered with an error code.
    #[snafu(display("the broker answered {code}{}", suffix(message)))]
    Code {
        /// The answer's error code.
        code: ErrorCode,
        /// The broker's explanation, if it gave one.
        message: Option<String>,
    },
    /// No broker could be asked.
    #[snafu(display("no reachable broker{causes}"))]
    NoReachableBroker {
        /// What each address failed with.
        causes: Causes,
    },
    /// The topic does not exist, or may not be seen.
    #[snafu(display("unknown topic"))]
    UnknownTopic,
    /// The topic has no such partition.
    #[snafu(display("the topic has no such partition"))]
    UnknownPartition,
    /// The topic of this name has another id now.
    #[snafu(display("the topic was deleted and created again"))]
    TopicRecreated,
    /// Metadata names no broker with this id.
    #[snafu(display("the cluster has no broker {id} at the moment"))]
    UnknownBroker {
        /// The broker's id that was looked for.
        id: i32,
    },
    /// No broker leads the partition at the moment.
    #[snafu(display("the partition has no leader at the moment{}", code.map_or(String::new(), |code| format!(" ({code})"))))]
    NoLeader {
        /// The error code that metadata has for the partition.
        code: Option<ErrorCode>,
    },
    /// The answer does not have the topic, partition or offset that was asked for.
    #[snafu(display("the answer does not have what was asked for"))]
    MissingInAnswer,
    /// The cluster was closed.
    #[snafu(display("the client is closed"))]
    Closed,
    /// The runtime that the cluster lives on has ended.
    #[snafu(display("the runtime that the client was built on has ended"))]
    RuntimeGone,
    /// The deadline passed while a connection was being opened. The dial continues for the next call.
    #[snafu(display("still connecting after {after:?}{}", phase.map_or(String::new(), |phase| format!(", while {phase}"))))]
    StillConnecting {
        /// How long it has taken so far.
        after: Duration,
        /// The step of opening the connection; `None` during the pause before a dial, and while the broker's identity is
        /// checked.
        phase: Option<Phase>,
    },
    /// The deadline passed while this call waited for another Metadata request.
    #[snafu(display("waited for another request for metadata until the deadline"))]
    DeadlineBeforeSend,
}

impl Failure {
    /// Whether the request may have reached a broker, and no answer tells what it did.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Call { source } => source.was_sent(),
            Self::MissingInAnswer => true,
            _ => false,
        }
    }

    /// Whether the connection ended before a byte of the request was sent.
    pub fn is_unsent_close(&self) -> bool {
        matches!(self, Self::Call { source } if !source.was_sent() && source.close_cause().is_some())
    }

    /// Whether the request may have been applied although it failed.
    pub fn may_be_applied(&self) -> bool {
        match self {
            Self::Code { code: ErrorCode::REQUEST_TIMED_OUT | ErrorCode::UNKNOWN_SERVER_ERROR, .. } => true,
            // A leader may have applied it before it lost the partition, or its disk.
            Self::Code {
                code: ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR, ..
            } => true,
            failure => failure.is_unanswered(),
        }
    }

    /// What to do about it.
    pub fn nature(&self) -> Nature {
        match self {
            Self::Open { source } => source.nature(),
            Self::Call { source } | Self::Identity { source, .. } => source.nature(),
            Self::NoReachableBroker { causes } => causes.nature(),
            // The next attempt asks the bootstrap brokers (KIP-1102).
            Self::Code { code, .. } | Self::Metadata { code }
                if code.is_retriable() || *code == ErrorCode::REBOOTSTRAP_REQUIRED =>
            {
                Nature::Transient
            }
            // Wrong addresses are corrected by the next metadata, or when the name is.
            Self::OtherCluster { .. }
            | Self::OtherBroker { .. }
            | Self::NoLeader { .. }
            | Self::UnknownBroker { .. } => Nature::Transient,
            Self::StillConnecting { .. } | Self::DeadlineBeforeSend => Nature::TimedOut,
            _ => Nature::Lasting,
        }
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        self.nature().is_transient()
    }

    /// The error code answered, if one was: the last one, if several brokers were asked.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::NoReachableBroker { causes } => {
                causes.0.iter().rev().find_map(|(_, failure)| failure.code())
            }
            Self::Code { code, .. } | Self::Metadata { code } => Some(*code),
            Self::UnknownTopic => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Self::NoLeader { code } => *code,
            Self::Open { source } => source.code(),
            _ => None,
        }
    }
}

/// Addresses, and what each failed with.
#[derive(Debug, Clone, Default)]
pub struct Causes(pub Vec<(Endpoint, Failure)>);

impl Causes {
    fn nature(&self) -> Nature {
        let natures = || self.0.iter().map(|(_, failure)| failure.nature());
        match natures().next() {
            // Repeating refused credentials could lock the account.
            _ if natures().any(|nature| nature == Nature::Authentication) => Nature::Authentication,
            None => Nature::Transient,
            _ if natures().any(Nature::is_transient) => Nature::Transient,
            _ if natures().all(|nature| nature == Nature::Throttled) => Nature::Throttled,
            _ => Nature::Lasting,
        }
    }
}

impl fmt::Display for Causes {
    /// With the causes of each, because an error with a list has no single source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (endpoint, failure)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match failure {
                // The message of an `OpenError` names the broker.
                Failure::Open { source } => write!(f, "{}", WithCauses(source))?,
                _ => write!(f, "{endpoint}: {}", WithCauses(failure))?,
            }
        }
        Ok(())
    }
}

fn suffix(message: &Option<String>) -> String {
    message.as_deref().filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default()
}

/// Where an error happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// The broker's id, once it is known.
    pub broker: Option<i32>,
    /// The broker's address.
    pub endpoint: Option<Endpoint>,
    /// The topic.
    pub topic: Option<String>,
    /// The partition.
    pub partition: Option<i32>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, endpoint, topic, partition } = self;
        if let Some(topic) = topic {
            write!(f, " on topic {topic}")?;
        }
        if let Some(partition) = partition {
            write!(f, " partition {partition}")?;
        }
        match (broker, endpoint) {
            (Some(broker), Some(endpoint)) => write!(f, " at broker {broker} ({endpoint})"),
            (Some(broker), None) => write!(f, " at broker {broker}"),
            (None, Some(endpoint)) => write!(f, " at {endpoint}"),
            (None, None) => Ok(()),
        }
    }
}

/// A call that failed for good, or for which the time ran out.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Why the last attempt failed.
    pub failure: Failure,
    /// All attempts of the call.
    pub attempts: Box<Attempts>,
}
