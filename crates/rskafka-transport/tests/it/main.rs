//! Connections over in-memory pipes with paused time, the test playing the broker; and over loopback TCP.

mod broken_peers;
mod deadlines;
mod dropping;
mod hanging_up;
mod identity;
mod idle;
mod opening;
mod phases;
mod pipelining;
mod pki;
mod sasl;
mod sasl_server;
mod sessions;
mod socks5;
mod submitting;
mod support;
mod tcp;
mod throttling;
mod tls;
