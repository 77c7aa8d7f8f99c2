//! Whole recordings, read back: processes that die, limits, threads.

mod endings;
mod limits;
