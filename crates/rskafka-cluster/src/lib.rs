//! Metadata, leader routing and retries over many Kafka brokers.
