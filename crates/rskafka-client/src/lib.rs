//! A Kafka partition as a write-ahead log: the client behind the rskafka facade.
