//! What can go wrong with a connection or a call on it.
//!
//! Invariant: every error names the broker; a call's error also the API.

mod call;
mod close;
mod open;
mod proxy;
mod sasl;
mod tls;

pub use call::{CallError, CallErrorKind};
pub use close::CloseCause;
pub use open::{OpenError, OpenErrorKind, Phase};
pub use proxy::ProxyError;
pub use sasl::SaslError;
pub use tls::{BoxError, TlsError};
