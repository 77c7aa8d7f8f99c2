//! Loom's locks and atomics, where the sources expect the standard library's.

use std::fmt;
use std::time::Duration;

use loom::sync::Condvar;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};
pub(crate) use loom::sync::{Mutex, MutexGuard};

loom::lazy_static! {
    /// The lock of the one file that a model has: who opened it for the one that holds it.
    pub(crate) static ref FILE_LOCK: (Mutex<Option<u32>>, Condvar) = (Mutex::new(None), Condvar::new());
}

/// Waits for the file's lock, which is what the sources sleep for. A holder that never lets go is no matter of the order
/// of threads.
pub(crate) fn sleep(_: Duration) {
    let (lock, is_free) = &*FILE_LOCK;
    let mut locked_by = lock.lock().expect("no model panics while it holds this");
    while locked_by.is_some() {
        locked_by = is_free.wait(locked_by).expect("no model panics while it holds this");
    }
}

/// The cell of boxes, which loom does not have, of loom's parts: the first box stays, and storing it is one step.
pub(crate) struct OnceBox<T> {
    is_set: loom::sync::atomic::AtomicBool,
    setting: Mutex<()>,
    value: std::sync::OnceLock<Box<T>>,
}

impl<T> OnceBox<T> {
    pub(crate) fn new() -> OnceBox<T> {
        OnceBox {
            is_set: loom::sync::atomic::AtomicBool::new(false),
            setting: Mutex::new(()),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let is_set = self.is_set.load(loom::sync::atomic::Ordering::Acquire);
        is_set.then(|| self.value.get()).flatten().map(|value| &**value)
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        let made = make();
        let _setting = self.setting.lock().expect("no model panics in here");
        let value = self.value.get_or_init(|| made);
        self.is_set.store(true, loom::sync::atomic::Ordering::Release);
        value
    }
}

impl<T> fmt::Debug for OnceBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceBox").finish_non_exhaustive()
    }
}
