//! The examples of the guide: each page is a doc test. What uses TLS needs the features that the tests have.

#[doc = include_str!("../../../docs/exclusive-log.md")]
mod exclusive_log {}

#[doc = include_str!("../../../docs/failures.md")]
mod failures {}

#[doc = include_str!("../../../docs/getting-started.md")]
mod getting_started {}

#[doc = include_str!("../../../docs/security.md")]
mod security {}

#[doc = include_str!("../../../docs/testing-your-code.md")]
mod testing_your_code {}

#[doc = include_str!("../../../docs/tuning.md")]
mod tuning {}

#[doc = include_str!("../../../docs/write-ahead-log.md")]
mod write_ahead_log {}
