//! A lock of the recorder, as the sources take it.

use crate::sync::{Mutex, MutexGuard};

/// Takes a lock. That its holder may be gone, in the parent of a fork, is no matter of the order of threads.
pub(crate) fn lock_soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    mutex.lock().ok()
}

pub(crate) use callbox_core::FaultKind;

/// Nothing fails in the models.
#[derive(Debug, Default)]
pub(crate) struct Books;

impl Books {
    pub(crate) fn fault(&self, kind: FaultKind, text: &str) {
        panic!("{kind} failed: {text}");
    }
}
