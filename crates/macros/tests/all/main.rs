//! What annotated functions record, and that they stay what they were.

#![cfg(not(feature = "max-level-off"))]

mod functions;
mod memory_log;
mod objects;
mod replays;
mod unchanged;
