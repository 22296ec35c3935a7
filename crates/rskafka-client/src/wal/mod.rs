//! An exclusive log: one writer at a time, decided by the order of the log itself.
//!
//! Each batch carries a header that says who wrote it, in which term, and which batch of that writer it is. A claim begins a
//! new term. One rule (`fence.rs`) says which batches count, so all readers find the same entries, and a writer that was
//! overtaken can append nothing that counts.
//!
//! Invariant: an append is acknowledged to its caller only when it surely counts.

mod fence;
mod ledger;

#[cfg(test)]
mod tests;
