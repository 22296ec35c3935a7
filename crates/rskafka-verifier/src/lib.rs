//! The simulation and its rules, the demo that is held to them too; and a proxy that breaks
//! connections.
//!
//! Invariant: what is verified is each record's content at its offset, not counts. There is one checker, the rules of
//! [`sim`], for simulation, live runs and the demo: they are pure and know nothing of who tells them what happened.

pub mod demo;
pub mod play;
mod progress;
pub mod proxy;
pub mod report;
mod say;
pub mod sim;
