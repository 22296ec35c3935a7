//! Kafka wire protocol: typed messages and record batches, without I/O.
