//! The attribute `record`.
