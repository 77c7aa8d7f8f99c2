//! What threads share a file of lines by: `tests/models` takes that file in with a `sync` of its own, and tries every
//! order of threads.

pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use std::thread::sleep;
