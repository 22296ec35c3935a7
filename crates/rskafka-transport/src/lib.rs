//! One negotiated connection to one Kafka broker.
