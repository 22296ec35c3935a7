//! The kinds of faults; each is a row of the table that a sweep prints.
//!
//! Invariant: a kind that may lose what was acknowledged is drawn only where a profile allows for that.
//!
//! Two faults of the fake are left out: over pipes a reset is a cut, and no client can notice flipped bits outside of records,
//! which alone have a checksum.

use std::time::Duration;

use rskafka::protocol::ErrorCode;

use super::plan::What;
use super::profile::Profile;

/// Whether a request takes effect although something goes wrong with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To the broker.
    Request,
    /// To the client.
    Answer,
}

/// What goes wrong. A broker is the one that the moment's request was sent to, and a partition is one
/// that it leads, where it leads one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Another replica becomes the leader of the partition.
    MoveLeader,
    /// The broker stops and starts again.
    Crash(Duration),
    /// The same, and its copies have lost so many batches; others in sync have them.
    CrashLosingTail(Duration, usize),
    /// The broker stops and starts again, and the cluster notices only after the second time.
    CrashUnnoticed(Duration, Duration),
    /// The broker shuts down as it should, and starts again.
    ShutDown(Duration),
    /// All connections to the broker end.
    CutConnections,
    /// The broker and another one exchange their addresses.
    SwapAddresses,
    /// The leader moves, and for a time the other brokers do not know that.
    StaleMetadata(Duration),
    /// Nothing reaches the broker, and nothing comes back.
    Unreachable(Duration),
    /// The broker's port refuses connections, and those that are open end.
    Refused(Duration),
    /// The request gets this code.
    Code(ErrorCode, Applied),
    /// For a time, half of the requests get this code.
    Flaky(ErrorCode, Applied, Duration),
    /// The request gets no answer, and the connection stays.
    Swallow(Applied),
    /// The connection ends instead of an answer.
    Close(Applied),
    /// The answer is late.
    Late(Duration),
    /// The answer asks for silence (KIP-219).
    Throttle(Duration),
    /// A quota of so many bytes in a second, of requests' or of answers' records.
    Quota(Way, u64, Duration),
    /// The answer has another correlation id.
    WrongCorrelationId(i32),
    /// The answer lacks its last bytes.
    Shortened(usize),
    /// The answer has bytes too many.
    Lengthened(usize),
    /// The connection ends in the middle of the answer.
    CutAt(usize),
    /// Bytes come that are no answer.
    Garbage,
    /// The broker's end of a connection ends after so many more bytes.
    CutBytes(Way, u64),
    /// Bytes stop for a time after so many more.
    Stall(Way, u64, Duration),
    /// Bytes trickle after so many more, for a time: so many in a second.
    Trickle(Way, u64, u64, Duration),
    /// Records are deleted, up to this share of the log in percent.
    DeleteRecords(u8),
    /// The partition forgets who wrote to it.
    ForgetProducers,
    /// A follower that counts as in sync stands still: appends wait for it.
    ReplicaLags(Duration),
    /// Only the leader is in sync, fewer than `min.insync.replicas`.
    TooFewReplicas(Duration),
    /// A producer with transactions appends so many records, and ends the transaction after a time: commits it or not.
    Transaction(bool, u32, Duration),
    /// Of records with the same key only the last one is left.
    Compact,
    /// For a time, connections to the broker end as soon as they are open.
    CloseOpened(Duration),
    /// For a time, brokers answer Metadata with REBOOTSTRAP_REQUIRED (KIP-1102).
    Rebootstrap(Duration),
    /// The log loses its end, from this share of it in percent.
    Truncate(u8),
    /// A follower that stood still for a time becomes the leader.
    ElectUnclean(Duration),
    /// The topic is deleted and created again.
    RecreateTopic,
}

/// What actors do on their own account: drop a call's future.
pub const DROPPED: [&str; 2] = [PRODUCE_DROPPED, FETCH_DROPPED];
pub(super) const PRODUCE_DROPPED: &str = "produce dropped";
pub(super) const FETCH_DROPPED: &str = "fetch dropped";

impl Kind {
    /// Its row in the table: without its numbers.
    pub fn name(&self) -> String {
        let shown = format!("{self:?}");
        let (kind, values) = shown.split_once('(').unwrap_or((&shown, ""));
        let mut values = values.split([',', ')']).map(str::trim);
        let variant =
            values.find(|value| ["Yes", "No", "Request", "Answer", "true", "false"].contains(value));
        variant.map_or_else(|| kind.to_owned(), |variant| format!("{kind}, {variant}"))
    }

    /// Whether it strikes when its moment comes, as long as there is a leader. The others need more bytes or requests, two
    /// followers, or brokers that know of them.
    pub(super) fn is_sure(&self) -> bool {
        let needs_more =
            matches!(self, Self::CutBytes(..) | Self::Stall(..) | Self::Trickle(..) | Self::Flaky(..));
        !needs_more && !matches!(self, Self::TooFewReplicas(_) | Self::Rebootstrap(_))
    }

    pub(super) fn random(random: &mut fastrand::Rng, what: What, profile: &Profile) -> Self {
        let applied = if random.bool() { Applied::Yes } else { Applied::No };
        // Most are over soon, some outlast every deadline of a call.
        let most = [50, 500, 12_000][random.usize(..3)];
        let time = Duration::from_millis(random.u64(1..=most));
        let way = if random.bool() { Way::Request } else { Way::Answer };
        // The first bytes are a header's.
        let bytes = if random.bool() { random.u64(..20) } else { random.u64(..2_000) };
        match random.u8(..if profile.loses { 54 } else { 47 }) {
            0 | 1 => Self::MoveLeader,
            2 => Self::Crash(time),
            3 => Self::CrashLosingTail(time, random.usize(1..20)),
            4 => Self::CrashUnnoticed(time, Duration::from_millis(random.u64(1..=most))),
            5 => Self::ShutDown(time),
            6 => Self::CutConnections,
            7 => Self::SwapAddresses,
            8 => Self::StaleMetadata(time),
            9 => Self::Unreachable(time),
            10 => Self::Refused(time),
            11 | 12 => random_code(random, what),
            13 => Self::Swallow(applied),
            14 | 15 => Self::Close(applied),
            16 => Self::Late(time),
            17 => Self::Throttle(time),
            18 | 19 => Self::Quota(way, random.u64(1_000..10_000), time),
            20 => Self::WrongCorrelationId(random.i32(1..5)),
            21 => Self::Shortened(random.usize(1..9)),
            22 => Self::Lengthened(random.usize(1..9)),
            23 => Self::CutAt(random.usize(0..100)),
            24 => Self::Garbage,
            25 | 26 => Self::CutBytes(way, bytes),
            27 | 28 => Self::Stall(way, bytes, time),
            29 | 30 => {
                let slow = random.bool();
                Self::Trickle(way, bytes, random.u64(if slow { 1..10 } else { 1_000..50_000 }), time)
            }
            // A store of positions decides what is trimmed, and a log that is compacted is damaged.
            31 | 37 if profile.claimants > 0 => Self::ForgetProducers,
            31 => Self::DeleteRecords(random.u8(..=100)),
            32 => Self::ForgetProducers,
            33 => Self::ReplicaLags(time),
            34 => Self::TooFewReplicas(time),
            35 | 36 => Self::Transaction(random.bool(), random.u32(1..4), time),
            37 => Self::Compact,
            38 => Self::CloseOpened(time),
            // Few brokers know of it.
            39..42 => Self::Rebootstrap(time),
            42..47 => match random_code(random, what) {
                Self::Code(code, applied) if code.is_retriable() => Self::Flaky(code, applied, time),
                other => other,
            },
            // A short loss is soon written over.
            47 => Self::Truncate(random.u8(..=100)),
            48 => Self::Truncate(random.u8(90..=100)),
            49..52 => Self::ElectUnclean(time),
            _ => Self::RecreateTopic,
        }
    }
}

/// Codes with which a broker answers, and whether it may have applied the request.
fn random_code(random: &mut fastrand::Rng, what: What) -> Kind {
    use Applied::{No, Yes};
    let codes: &[(ErrorCode, Applied)] = match what {
        What::Produce => &[
            (ErrorCode::NOT_ENOUGH_REPLICAS, No),
            (ErrorCode::MESSAGE_TOO_LARGE, No),
            (ErrorCode::INVALID_RECORD, No),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, No),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, No),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, Yes),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, No),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Yes),
            (ErrorCode::KAFKA_STORAGE_ERROR, Yes),
            (ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, Yes),
            (ErrorCode::REQUEST_TIMED_OUT, Yes),
            (ErrorCode::UNKNOWN_SERVER_ERROR, Yes),
        ],
        What::Fetch => &[
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, No),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, No),
            (ErrorCode::FENCED_LEADER_EPOCH, No),
            (ErrorCode::UNKNOWN_LEADER_EPOCH, No),
            (ErrorCode::OFFSET_NOT_AVAILABLE, No),
            (ErrorCode::KAFKA_STORAGE_ERROR, No),
            (ErrorCode::UNKNOWN_SERVER_ERROR, No),
        ],
        What::Other => &[(ErrorCode::LEADER_NOT_AVAILABLE, No), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, No)],
    };
    let (code, applied) = codes[random.usize(..codes.len())];
    Kind::Code(code, applied)
}
