//! A simulated disk for sessions: it keeps apart what was synced and what was not, logs every operation, and fails
//! when it is told to.
//!
//! The model is that of crash testing of file systems: what was written and not synced may be lost, each part of it
//! for itself, in any order. What was synced stays.

mod crash;
mod disk;
mod script;
mod tree;

pub use self::crash::{Choice, CrashStates, Loss, Thoroughness};
pub use self::disk::SimDisk;
pub use self::script::{Act, Failure, Script};
pub use self::tree::{Effect, Kept, Node, Tree};
