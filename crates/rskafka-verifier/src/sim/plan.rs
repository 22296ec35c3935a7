//! What goes wrong in a run, and when: made from a seed.
//!
//! Invariant: a plan follows from seed and profile alone; leaving some of its faults out changes none of
//! the others.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rskafka::protocol::{ApiKey, ErrorCode};

use super::profile::Profile;

/// How many faults a plan has.
const FAULTS: Range<usize> = 16..24;

/// A request, as moments tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// Any other.
    Other,
}

impl What {
    pub(super) fn of(api: ApiKey) -> Self {
        match api {
            ApiKey::PRODUCE => Self::Produce,
            ApiKey::FETCH => Self::Fetch,
            _ => Self::Other,
        }
    }
}

/// Where a request is when a fault strikes; it waits there until the fault has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No byte of it is with the broker.
    Request,
    /// No byte of its answer is with the client.
    Answer,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Which requests count.
    pub what: What,
    /// The number of the request among those, from 0.
    pub nth: u64,
    /// Where the request is.
    pub stage: Stage,
}

/// Whether a request takes effect although something goes wrong with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the broker.
    Request,
    /// To the client.
    Answer,
}

/// What goes wrong. A broker is the one that the moment's request was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Another replica becomes the leader of the partition.
    MoveLeader,
    /// The broker stops and starts again.
    Crash(Duration),
    /// The broker shuts down as it should, and starts again.
    ShutDown(Duration),
    /// All connections to the broker end.
    CutConnections,
    /// Nothing reaches the broker, and nothing comes back.
    Unreachable(Duration),
    /// The broker's port refuses connections, and those that are open end.
    Refused(Duration),
    /// The request gets this code.
    Code(ErrorCode, Applied),
    /// The request gets no answer, and the connection stays.
    Swallow(Applied),
    /// The connection ends instead of an answer.
    Close(Applied),
    /// The answer is late.
    Late(Duration),
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
}

/// All names of kinds, as [`Kind::name`] gives them.
pub const NAMES: [&str; 27] = [
    "leader moved",
    "broker crashed",
    "connections cut",
    "broker unreachable",
    "connections refused",
    "error code, not applied",
    "error code, applied",
    "request swallowed",
    "answer swallowed",
    "closed before the answer",
    "closed, applied",
    "answer late",
    "wrong correlation id",
    "answer too short",
    "answer too long",
    "cut in the answer",
    "garbage",
    "records deleted",
    "cut in a request's bytes",
    "cut in an answer's bytes",
    "request's bytes stalled",
    "answer's bytes stalled",
    "request's bytes trickle",
    "answer's bytes trickle",
    "broker shut down",
    "produce dropped",
    "fetch dropped",
];

/// The names of what actors do on their own account: drop a call's future.
pub(super) const PRODUCE_DROPPED: &str = NAMES[25];
pub(super) const FETCH_DROPPED: &str = NAMES[26];

impl Kind {
    /// Its row in the table.
    pub fn name(&self) -> &'static str {
        let row = match self {
            Self::MoveLeader => 0,
            Self::Crash(_) => 1,
            Self::CutConnections => 2,
            Self::Unreachable(_) => 3,
            Self::Refused(_) => 4,
            Self::Code(_, Applied::No) => 5,
            Self::Code(_, Applied::Yes) => 6,
            Self::Swallow(Applied::No) => 7,
            Self::Swallow(Applied::Yes) => 8,
            Self::Close(Applied::No) => 9,
            Self::Close(Applied::Yes) => 10,
            Self::Late(_) => 11,
            Self::WrongCorrelationId(_) => 12,
            Self::Shortened(_) => 13,
            Self::Lengthened(_) => 14,
            Self::CutAt(_) => 15,
            Self::Garbage => 16,
            Self::DeleteRecords(_) => 17,
            Self::CutBytes(Way::Request, _) => 18,
            Self::CutBytes(Way::Answer, _) => 19,
            Self::Stall(Way::Request, ..) => 20,
            Self::Stall(Way::Answer, ..) => 21,
            Self::Trickle(Way::Request, ..) => 22,
            Self::Trickle(Way::Answer, ..) => 23,
            Self::ShutDown(_) => 24,
        };
        NAMES[row]
    }

    fn random(random: &mut fastrand::Rng, what: What) -> Self {
        let applied = if random.bool() { Applied::Yes } else { Applied::No };
        // Most are over soon, some outlast every deadline of a call.
        let most = [50, 500, 12_000][random.usize(..3)];
        let time = Duration::from_millis(random.u64(1..=most));
        let way = if random.bool() { Way::Request } else { Way::Answer };
        // The first bytes are a header's.
        let bytes = if random.bool() { random.u64(..20) } else { random.u64(..2_000) };
        match random.u8(..25) {
            0 | 1 => Self::MoveLeader,
            2 => Self::Crash(time),
            3 => Self::CutConnections,
            4 => Self::Unreachable(time),
            5 => Self::Refused(time),
            6 | 7 => random_code(random, what),
            8 => Self::Swallow(applied),
            9 | 10 => Self::Close(applied),
            11 => Self::Late(time),
            12 => Self::WrongCorrelationId(random.i32(1..5)),
            13 => Self::Shortened(random.usize(1..9)),
            14 => Self::Lengthened(random.usize(1..9)),
            15 => Self::CutAt(random.usize(0..100)),
            16 => Self::Garbage,
            17 | 18 => Self::CutBytes(way, bytes),
            19 | 20 => Self::Stall(way, bytes, time),
            21 | 22 => {
                let bytes_per_second =
                    if random.bool() { random.u64(1..10) } else { random.u64(1_000..50_000) };
                Self::Trickle(way, bytes, bytes_per_second, time)
            }
            23 => Self::ShutDown(time),
            _ => Self::DeleteRecords(random.u8(..=100)),
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

/// A fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    /// When.
    pub moment: Moment,
    /// What.
    pub kind: Kind,
}

/// The faults of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    faults: Vec<(usize, PlannedFault)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64, profile: &Profile) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x706c_616e);
        let count = random.usize(FAULTS);
        let fault = |_| {
            let (what, most) = match random.u8(..10) {
                0..6 => (What::Produce, profile.appends),
                6..9 => (What::Fetch, profile.appends / 5),
                _ => (What::Other, 20),
            };
            let stage = if random.bool() { Stage::Request } else { Stage::Answer };
            let moment = Moment { what, nth: random.u64(..most), stage };
            PlannedFault { moment, kind: Kind::random(&mut random, what) }
        };
        Self { faults: (0..count).map(fault).enumerate().collect() }
    }

    /// Only the faults with these numbers.
    #[must_use]
    pub fn only(&self, numbers: &BTreeSet<usize>) -> Self {
        let faults = self.faults.iter().filter(|(number, _)| numbers.contains(number));
        Self { faults: faults.copied().collect() }
    }

    /// The faults, each with its number in the seed's whole plan.
    pub fn faults(&self) -> impl Iterator<Item = (usize, &PlannedFault)> {
        self.faults.iter().map(|(number, fault)| (*number, fault))
    }

    /// The faults' numbers.
    pub fn numbers(&self) -> BTreeSet<usize> {
        self.faults.iter().map(|(number, _)| *number).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = self.faults.clone();
        faults.sort_by_key(|(number, fault)| (fault.moment, *number));
        for (number, PlannedFault { moment: Moment { what, nth, stage }, kind }) in faults {
            let place = match stage {
                Stage::Request => "before",
                Stage::Answer => "before the answer to",
            };
            writeln!(f, "  fault {number}: {place} {what:?} {nth}: {}: {kind:?}", kind.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        let profile = Profile::readers();
        assert_eq!(Plan::of_seed(7, &profile), Plan::of_seed(7, &profile));
        assert_ne!(Plan::of_seed(7, &profile), Plan::of_seed(8, &profile));
    }

    #[test]
    fn leaving_faults_out_keeps_the_others_as_they_are() {
        let plan = Plan::of_seed(7, &Profile::readers());
        let some: BTreeSet<usize> = [1, 4].into();
        let kept = plan.only(&some);
        assert_eq!(kept.numbers(), some);
        assert!(kept.faults().all(|fault| plan.faults().any(|of_plan| of_plan == fault)));
        assert_eq!(kept.to_string().lines().count(), 2);
    }

    #[test]
    fn every_kind_is_planned_sooner_or_later() {
        let profile = Profile::readers();
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::of_seed(seed, &profile)).collect();
        let planned: BTreeSet<&str> =
            plans.iter().flat_map(Plan::faults).map(|(_, fault)| fault.kind.name()).collect();
        let missing = NAMES.iter().filter(|name| !planned.contains(*name));
        assert_eq!(missing.collect::<Vec<_>>(), [&PRODUCE_DROPPED, &FETCH_DROPPED]);
    }
}
