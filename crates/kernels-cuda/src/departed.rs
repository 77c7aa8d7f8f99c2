//! Memory that nobody needs any more, and that cannot be freed just now.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use callbox_core::planted;
use cudarc::driver::DeviceSlice;

use crate::guest::{is_capturing, let_go, quietly};
use crate::owner::Owner;

/// What waits for the end of a capture.
///
/// Freeing memory on a stream that records a graph would spoil that. Who drops a tensor there may not even know: while a
/// call is recorded the recorder keeps its tensors, and drops them after the application did.
#[derive(Default)]
pub(crate) struct Departed(Mutex<Vec<Box<dyn Owner>>>);

impl Departed {
    /// Frees memory, and what waited for it to be possible; or lets it wait.
    pub(crate) fn take(&self, owner: Box<dyn Owner>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(owner);
        let (stays, goes) = std::mem::take(&mut *waiting).into_iter().partition(|owner| is_busy(&**owner));
        *waiting = stays;
        drop(waiting);
        free(goes);
    }
}

/// Nothing else can be done about what still waits.
impl Drop for Departed {
    fn drop(&mut self) {
        free(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

fn free(owners: Vec<Box<dyn Owner>>) {
    for owner in owners {
        if planted::bug("device_memory_leaked") {
            std::mem::forget(owner);
            continue;
        }
        let stream = owner.bytes().stream().clone();
        let_go(stream.context(), owner);
    }
}

fn is_busy(owner: &dyn Owner) -> bool {
    let bytes = owner.bytes();
    let stream = bytes.stream();
    quietly(stream.context(), || is_capturing(stream)).unwrap_or(false)
}

/// Shows how many there are.
impl fmt::Debug for Departed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.0.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}
