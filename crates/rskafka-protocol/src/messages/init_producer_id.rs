//! InitProducerId: an id and an epoch for an idempotent or transactional producer (KIP-98).

use crate::ErrorCode;
use crate::schema::schema;

schema! {
    /// Asks for a producer id. To be sent to the coordinator of the transactional id, or without one to
    /// any broker. Version 6, for two-phase commit (KIP-939), is not offered by brokers yet.
    pub struct InitProducerIdRequest (InitProducerId = 22, versions 0..=5, flexible 2..) {
        /// The transactional id; null for a producer that is idempotent only. One that the
        /// coordinator knows gets a higher epoch: earlier owners are fenced.
        transactional_id: Option<String> = Some(String::new()),
        /// After how long the coordinator aborts an idle transaction; of no meaning without a
        /// transactional id.
        transaction_timeout_ms: i32,
        /// The producer id that the asker has, to go on with it (KIP-360); -1 for none.
        producer_id: i64 [3..] = -1,
        /// The epoch that the asker has; -1 for none.
        producer_epoch: i16 [3..] = -1,
    }

    /// A producer id.
    pub struct InitProducerIdResponse (InitProducerId = 22, versions 0..=5, flexible 2..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [.., ignorable, client_waits 1..],
        /// The outcome; from version 4 on `PRODUCER_FENCED` if the asker's epoch is over (KIP-588).
        error_code: ErrorCode,
        /// The producer id; -1 after an error.
        producer_id: i64 = -1,
        /// The epoch to write with.
        producer_epoch: i16,
    }
}
