//! What threads share state by, in the parts of this crate whose every order of threads is tried: `tests/models` takes
//! those files in with a `sync` of its own.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};

/// Whoever finds it empty makes a value, and the first one stays: unlike the standard library's cell, nobody waits for
/// another thread, which a forked child may not have.
pub(crate) use once_cell::race::OnceBox;
