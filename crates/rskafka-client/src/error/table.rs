//! The table of failures: what each says of the data, and whether to make the call again.
//!
//! Invariant: of a write, `NotWritten` is said only where not a byte of it was sent. The codes that a broker answers to
//! an append have a table of their own, `produce/fate.rs`. `docs/outcomes.md` is rendered from both.

use rskafka_cluster::Failure;
use rskafka_cluster::transport::{CallError, CloseCause, Nature};
use rskafka_protocol::ErrorCode;

use super::kind::{ErrorKind, Outcome};
use Outcome::{NotWritten, Unknown};

/// What a case means: what became of the data, whether the same call may succeed later, what happened, and the possible
/// kinds of the error.
pub(crate) type Row = (Outcome, bool, &'static str, &'static [&'static str]);

macro_rules! cases {
    ($($case:ident, $outcome:ident, $is_retriable:literal, $what:literal, [$($kind:ident),*];)*) => {
        /// Why a call ended without an answer that settles it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Case { $($case),* }

        pub(crate) const CASES: &[Row] =
            &[$(($outcome, $is_retriable, $what, &[$(stringify!($kind)),*])),*];
    };
}

cases! {
    InvalidArgument, NotWritten, false, "an argument is invalid", [InvalidArgument];
    BatchTooLarge, NotWritten, false, "a batch is larger than `max_request_bytes`", [BatchTooLarge];
    ClientClosed, NotWritten, false, "the client was closed before it was sent", [Closed];
    WaitedInLine, NotWritten, true, "it waited in line until the deadline", [TimedOut];
    Stopped, NotWritten, false, "an append before it failed, with `stop_on_failure`", [Stopped];
    LogTruncated, NotWritten, false, "records that were acknowledged or read are lost", [LogTruncated];
    UnknownTopic, NotWritten, false, "metadata has no such topic or partition", [UnknownTopicOrPartition];
    TopicRecreated, NotWritten, false, "the topic was deleted and created again", [TopicRecreated];
    NoLeader, NotWritten, true, "the partition has no leader", [NoLeader];
    Unreachable, NotWritten, true, "no connection, or no metadata, for a reason that may pass",
        [NoReachableBroker, OtherCluster, Connection, TimedOut, Broker, InvalidAnswer];
    Refused, NotWritten, false, "no connection, or no metadata, for a reason that retrying will not fix: TLS, credentials, rights",
        [Authentication, NoReachableBroker, Connection, Broker, InvalidAnswer];
    Unsupported, NotWritten, false, "no version that the broker supports can carry the request", [Unsupported];
    Throttled, NotWritten, true, "the broker throttles the client until after the deadline", [Throttled, NoReachableBroker];
    TimedOutUnsent, NotWritten, true, "the time ran out before a byte was sent", [TimedOut];
    EndedUnsent, NotWritten, true, "the connection ended before a byte was sent", [Connection];
    TimedOut, Unknown, true, "it was sent, and not answered in time", [TimedOut];
    Ended, Unknown, true, "it was sent, and the connection ended before the answer", [Connection];
    InvalidAnswer, Unknown, false, "it was sent, and the answer is invalid", [InvalidAnswer];
    RuntimeGone, Unknown, false, "it was sent, and the client's runtime ended", [Closed];
    Code, Unknown, false, "the broker answered with a code", [Broker, UnknownTopicOrPartition];
    ProducerClosed, NotWritten, false, "the batch producer was closed before it was sent", [ProducerClosed];
    Aggregator, NotWritten, false, "the aggregator failed or panicked before its batch was sent", [Aggregator];
    NoOutput, Unknown, false, "the batch was written, and its aggregator failed to give the output", [NoOutput];
    Fenced, NotWritten, false, "another writer has claimed the exclusive log", [Fenced, ClaimLost];
    LogDamaged, NotWritten, false, "a batch of an exclusive log cannot be judged", [LogDamaged];
    NotDurable, NotWritten, false, "the topic's settings cannot keep what an exclusive log promises", [NotDurable];
    OtherTopic, NotWritten, false, "the position to read from is of another log", [OtherTopic];
    OffsetOutOfRange, NotWritten, false, "the offset to read from is not in the log", [OffsetOutOfRange];
    CorruptBatch, NotWritten, false, "a batch in the log cannot be read", [CorruptBatch];
}

impl Case {
    pub(crate) fn row(self) -> &'static Row {
        &CASES[self as usize]
    }

    /// The case of an attempt that failed, and the kind of error that it makes.
    pub(crate) fn of_failure(failure: &Failure) -> (Self, ErrorKind) {
        match failure {
            Failure::Call { source } => Self::of_call(source),
            Failure::UnknownTopic | Failure::UnknownPartition => {
                (Self::UnknownTopic, ErrorKind::UnknownTopicOrPartition)
            }
            Failure::TopicRecreated => (Self::TopicRecreated, ErrorKind::TopicRecreated),
            Failure::NoLeader { .. } => (Self::NoLeader, ErrorKind::NoLeader),
            Failure::Closed | Failure::RuntimeGone => (Self::ClientClosed, ErrorKind::Closed),
            Failure::DeadlineBeforeSend => (Self::WaitedInLine, ErrorKind::TimedOut),
            Failure::MissingInAnswer => (Self::InvalidAnswer, ErrorKind::InvalidAnswer),
            Failure::Code { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. } => {
                (Self::Code, ErrorKind::UnknownTopicOrPartition)
            }
            Failure::Code { code, .. } => (Self::Code, ErrorKind::Broker(*code)),
            // The request was not sent: there was no connection, or no metadata.
            failure => {
                let case = match failure.nature() {
                    Nature::Throttled => Self::Throttled,
                    nature if nature.is_transient() => Self::Unreachable,
                    _ => Self::Refused,
                };
                let kind = match (failure, failure.nature()) {
                    (Failure::Metadata { code }, _) => ErrorKind::Broker(*code),
                    (Failure::OtherCluster { .. }, _) => ErrorKind::OtherCluster,
                    (_, Nature::Authentication) => ErrorKind::Authentication,
                    (Failure::NoReachableBroker { .. }, _) => ErrorKind::NoReachableBroker,
                    (_, Nature::Throttled) => ErrorKind::Throttled,
                    (_, Nature::InvalidAnswer) => ErrorKind::InvalidAnswer,
                    (_, Nature::TimedOut) => ErrorKind::TimedOut,
                    _ => ErrorKind::Connection,
                };
                (case, kind)
            }
        }
    }

    fn of_call(error: &CallError) -> (Self, ErrorKind) {
        let is_runtime_gone =
            || error.close_cause().is_some_and(|cause| matches!(**cause, CloseCause::RuntimeGone));
        match (error.nature(), error.was_sent()) {
            (Nature::Lasting, false) => (Self::Unsupported, ErrorKind::Unsupported),
            (Nature::Throttled, false) => (Self::Throttled, ErrorKind::Throttled),
            (Nature::TimedOut, false) => (Self::TimedOutUnsent, ErrorKind::TimedOut),
            (Nature::TimedOut, true) => (Self::TimedOut, ErrorKind::TimedOut),
            (Nature::InvalidAnswer, true) => (Self::InvalidAnswer, ErrorKind::InvalidAnswer),
            (_, true) if is_runtime_gone() => (Self::RuntimeGone, ErrorKind::Closed),
            (_, false) => (Self::EndedUnsent, ErrorKind::Connection),
            (_, true) => (Self::Ended, ErrorKind::Connection),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use rskafka_cluster::Causes;
    use rskafka_cluster::transport::{
        CallOptions, Connection, ConnectionConfig, Deadline, Endpoint, Env, WithCauses,
    };
    use rskafka_fake::FakeCluster;
    use rskafka_protocol::ApiKey;
    use rskafka_protocol::messages::produce::ProduceRequest;

    use super::*;
    use crate::error::Error;

    fn kinds() -> Vec<ErrorKind> {
        vec![
            ErrorKind::InvalidArgument("x"),
            ErrorKind::BatchTooLarge { size: 2, limit: 1 },
            ErrorKind::NoReachableBroker,
            ErrorKind::UnknownTopicOrPartition,
            ErrorKind::TopicRecreated,
            ErrorKind::NoLeader,
            ErrorKind::Stopped,
            ErrorKind::LogTruncated { divergence_offset: 1 },
            ErrorKind::Fenced { term: 1, offset: 2, note: "x".into() },
            ErrorKind::ClaimLost { term: 1, offset: 2, note: "x".into() },
            ErrorKind::LogDamaged { offset: 1, what: "x" },
            ErrorKind::NotDurable,
            ErrorKind::OtherTopic,
            ErrorKind::OffsetOutOfRange { offset: 1, log_start: 2, log_end: 3 },
            ErrorKind::CorruptBatch { base_offset: None },
            ErrorKind::Broker(ErrorCode::NOT_CONTROLLER),
            ErrorKind::Broker(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ErrorKind::Connection,
            ErrorKind::Authentication,
            ErrorKind::OtherCluster,
            ErrorKind::Unsupported,
            ErrorKind::InvalidAnswer,
            ErrorKind::Throttled,
            ErrorKind::TimedOut,
            ErrorKind::Closed,
            ErrorKind::ProducerClosed,
            ErrorKind::Aggregator,
            ErrorKind::NoOutput { base_offset: 1 },
        ]
    }

    fn name(kind: &ErrorKind) -> String {
        format!("{kind:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn each_kind_of_error_is_in_a_row_and_rows_name_no_others() {
        let named: Vec<_> = CASES.iter().flat_map(|row| row.3).copied().collect();
        for kind in kinds() {
            assert!(named.contains(&name(&kind).as_str()), "{kind:?} is in no row");
        }
        for named in named {
            assert!(kinds().iter().any(|kind| name(kind) == named), "a row names {named}");
        }
    }

    /// Failures of connections and of calls on them.
    fn of_connections() -> Vec<Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = FakeCluster::builder().in_memory().start().await.unwrap();
            let endpoint: Endpoint = cluster.bootstrap_servers()[0].parse().unwrap();
            let connector = move |host: String, port: u16| {
                let cluster = cluster.clone();
                async move { cluster.connect(&host, port).await }
            };
            let env = Env::builder().connector(connector).build();
            let (config, now) = (ConnectionConfig::default(), env.now());
            let deadline = Deadline::after(now, Duration::from_secs(30));
            let connection = Connection::open(&env, &endpoint, &config, deadline).await.unwrap();
            let options = CallOptions::new(deadline);
            let mut calls = Vec::new();
            for options in [
                CallOptions { max_version: Some(0), ..options },
                CallOptions { deadline: Deadline::at(now), ..options },
                options,
            ] {
                if calls.len() == 2 {
                    connection.close().await;
                }
                calls.push(connection.call(&ProduceRequest::default(), options).await.unwrap_err());
            }
            let broken =
                Env::builder().connector(async |_, _| Err::<tokio::io::Empty, _>(io::Error::other("cut")));
            let source = Connection::open(&broken.build(), &endpoint, &config, deadline).await.unwrap_err();
            let mut failures = vec![Failure::Open { source }];
            for source in calls {
                failures.push(Failure::Identity { may_want_sasl: true, source: source.clone() });
                failures.push(Failure::Call { source });
            }
            failures
        })
    }

    fn failures() -> Vec<Failure> {
        let id = String::new;
        let refused = Failure::Metadata { code: ErrorCode::CLUSTER_AUTHORIZATION_FAILED };
        let cause = (Endpoint::new("kafka", 9092), refused.clone());
        let mut failures = vec![
            refused,
            Failure::Metadata { code: ErrorCode::LEADER_NOT_AVAILABLE },
            Failure::NoReachableBroker { causes: Causes(vec![cause]) },
            Failure::NoReachableBroker { causes: Causes::default() },
            Failure::OtherCluster { expected: id(), found: id() },
            Failure::OtherBroker { expected: 1, found: 2 },
            Failure::UnknownBroker { id: 1 },
            Failure::UnknownTopic,
            Failure::UnknownPartition,
            Failure::TopicRecreated,
            Failure::NoLeader { code: None },
            Failure::NoLeader { code: Some(ErrorCode::LISTENER_NOT_FOUND) },
            Failure::Code { code: ErrorCode::INVALID_CONFIG, message: None },
            Failure::Code { code: ErrorCode::INVALID_CONFIG, message: Some("too long".to_owned()) },
            Failure::Code { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message: None },
            Failure::MissingInAnswer,
            Failure::Closed,
            Failure::RuntimeGone,
            Failure::StillConnecting { after: Duration::ZERO, phase: None },
            Failure::DeadlineBeforeSend,
        ];
        failures.extend(of_connections());
        failures
    }

    #[test]
    fn an_error_says_all_that_its_failure_says() {
        for failure in failures() {
            let (case, kind) = Case::of_failure(&failure);
            let said_by_kind = kind.to_string();
            let mut error = Error::new(case, kind);
            error.inner.failure = Some(failure.clone());
            let text = WithCauses(&error).to_string();
            let said = match &failure {
                Failure::Open { source } => WithCauses(source).to_string(),
                Failure::Call { source } => WithCauses(source).to_string(),
                Failure::Metadata { code } | Failure::NoLeader { code: Some(code) } => code.to_string(),
                Failure::Code { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. } => said_by_kind,
                Failure::Code { message: Some(message), .. } => message.clone(),
                Failure::Identity { source, .. } => {
                    assert!(text.ends_with(&WithCauses(source).to_string()), "{text}");
                    failure.to_string()
                }
                failure => failure.to_string(),
            };
            assert!(text.contains(&said), "{said:?} is missing in {text:?}");
        }
    }

    #[test]
    fn after_a_timeout_the_advice_follows_from_the_outcome() {
        let advice =
            |case, api| Error::new(case, ErrorKind::TimedOut).located(Some(api), "wal", None).to_string();
        assert!(advice(Case::TimedOutUnsent, ApiKey::PRODUCE).ends_with("; try again, or allow more time"));
        let text = advice(Case::TimedOut, ApiKey::PRODUCE);
        assert!(text.ends_with("; read the log before you produce it again"), "{text}");
        let text = advice(Case::TimedOut, ApiKey::CREATE_TOPICS);
        assert!(text.ends_with("; look whether it did before you try again"), "{text}");
    }

    #[test]
    fn the_kind_of_a_failure_is_named_in_its_row() {
        for failure in failures() {
            let (case, kind) = Case::of_failure(&failure);
            assert!(
                CASES[case as usize].3.contains(&name(&kind).as_str()),
                "{failure}: {kind:?} in {case:?}"
            );
        }
    }
}
