//! FindCoordinator: the broker that looks after a group or a transactional id.

use crate::ErrorCode;
use crate::schema::schema;

/// `key_type` for the id of a consumer group.
pub const GROUP: i8 = 0;
/// `key_type` for a transactional id (KIP-98).
pub const TRANSACTION: i8 = 1;
/// `key_type` for a partition of a share group (KIP-932, version 6): `group:topic id:partition`.
pub const SHARE: i8 = 2;

schema! {
    /// Asks for coordinators, from version 4 on for several at once (KIP-699). Any broker answers.
    pub struct FindCoordinatorRequest (FindCoordinator = 10, versions 1..=6, flexible 3..) {
        /// What to find the coordinator of.
        key: String [..=3],
        /// What the keys are: one of this module's constants.
        key_type: i8 [1..],
        /// What to find the coordinators of.
        coordinator_keys: Vec<String> [4..],
    }

    /// Coordinators.
    pub struct FindCoordinatorResponse (FindCoordinator = 10, versions 1..=6, flexible 3..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [1.., ignorable, client_waits 2..],
        /// The outcome.
        error_code: ErrorCode [..=3],
        /// Why there is no coordinator.
        error_message: Option<String> [1..=3, ignorable] = Some(String::new()),
        /// The coordinator's id; -1 if there is none.
        node_id: i32 [..=3],
        /// The host that it advertises on the listener asked.
        host: String [..=3],
        /// The port that it advertises on the listener asked.
        port: i32 [..=3],
        /// One entry for each key.
        coordinators: Vec<Coordinator> [4..],
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        /// The key asked for.
        key: String [4..],
        /// The coordinator's id; -1 if there is none.
        node_id: i32 [4..],
        /// The host that it advertises on the listener asked.
        host: String [4..],
        /// The port that it advertises on the listener asked.
        port: i32 [4..],
        /// The outcome for this key.
        error_code: ErrorCode [4..],
        /// Why there is no coordinator.
        error_message: Option<String> [4.., ignorable] = Some(String::new()),
    }
}
