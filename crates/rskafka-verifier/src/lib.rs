//! Workloads, checker and demo of rskafka.
