//! What threads share state by, in the parts of this crate whose every order of threads is tried: `tests/models` takes
//! those files in with a `sync` of its own.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
pub(crate) use std::sync::{Mutex, OnceLock};
