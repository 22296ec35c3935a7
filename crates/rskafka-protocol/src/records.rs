//! Record batches (magic 2).
