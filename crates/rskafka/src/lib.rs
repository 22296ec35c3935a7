//! A Kafka partition as a distributed write-ahead log.
