//! The simulation and its rules, the demo that is held to them too; a proxy that breaks connections, and a SOCKS5 server.
//!
//! Invariant: what is verified is each record's content at its offset, not counts. There is one checker, the rules of
//! [`sim`], for simulation, live runs and the demo: they are pure and know nothing of who tells them what happened.

mod accept;
pub mod demo;
pub mod play;
mod progress;
pub mod proxy;
pub mod report;
mod say;
pub mod sim;
pub mod socks5;
