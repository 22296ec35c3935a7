//! DeleteTopics: by name, or from version 6 on by id.

use crate::schema::schema;
use crate::{ErrorCode, Uuid};

schema! {
    /// Deletes topics. To be sent to the controller; with KRaft, any broker passes it on.
    pub struct DeleteTopicsRequest (DeleteTopics = 20, versions 1..=6, flexible 4..) {
        /// The topics to delete, by name or by id.
        topics: Vec<DeleteTopicState> [6..],
        /// The topics to delete, by name.
        topic_names: Vec<String> [..=5, ignorable],
        /// How long the controller may wait for the topics to be gone.
        timeout_ms: i32,
    }

    /// A topic to delete.
    pub struct DeleteTopicState {
        /// The topic's name; null to delete by id.
        name: Option<String> [6..],
        /// The topic's id; zero to delete by name.
        topic_id: Uuid [6..],
    }

    /// What became of the topics.
    pub struct DeleteTopicsResponse (DeleteTopics = 20, versions 1..=6, flexible 4..) {
        /// How long the client should stay silent on this connection (KIP-219).
        throttle_time_ms: i32 [1.., ignorable, client_waits 2..],
        /// One entry for each topic.
        responses: Vec<DeletableTopicResult>,
    }

    /// What became of one topic.
    pub struct DeletableTopicResult {
        /// The topic's name.
        name: Option<String> [.., nullable 6..] = Some(String::new()),
        /// The topic's id (KIP-516).
        topic_id: Uuid [6.., ignorable],
        /// The outcome for this topic.
        error_code: ErrorCode,
        /// Why it was not deleted.
        error_message: Option<String> [5.., ignorable],
    }
}
