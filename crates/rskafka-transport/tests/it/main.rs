//! Connections over in-memory pipes with paused time, the test playing the broker; and over loopback TCP.

mod broken_peers;
mod deadlines;
mod dropping;
mod opening;
mod pipelining;
mod sasl;
mod support;
mod tcp;
mod throttling;
mod tls;
