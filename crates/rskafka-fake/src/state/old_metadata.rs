//! What brokers answer to Metadata that have not heard of the latest changes.
//!
//! Invariant: an image is answered as often as was said, or until it is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rskafka_protocol::messages::metadata::MetadataResponse;

#[derive(Debug, Default)]
pub(crate) struct OldMetadata {
    by_broker: BTreeMap<i32, Held>,
}

#[derive(Debug)]
struct Held {
    image: Arc<MetadataResponse>,
    /// `None` without end.
    left: Option<u64>,
}

impl OldMetadata {
    pub(crate) fn hold(&mut self, broker: i32, image: MetadataResponse, requests: Option<u64>) {
        self.by_broker.insert(broker, Held { image: Arc::new(image), left: requests });
    }

    pub(crate) fn release(&mut self, broker: i32) {
        self.by_broker.remove(&broker);
    }

    /// What a broker answers once more, all topics; `None` for the present.
    pub(crate) fn take(&mut self, broker: i32) -> Option<Arc<MetadataResponse>> {
        let held = self.by_broker.get_mut(&broker)?;
        let image = held.image.clone();
        if let Some(left) = &mut held.left {
            *left -= 1;
        }
        if held.left == Some(0) {
            self.by_broker.remove(&broker);
        }
        Some(image)
    }
}
