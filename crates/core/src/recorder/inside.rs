//! Whether this thread is inside a recorder.

use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as inside a recorder.
///
/// Describing a value runs the application's code, and a sink may be the application's own. What they call in turn
/// is not recorded: it would be without end.
#[derive(Debug)]
pub(super) struct Inside(());

impl Inside {
    /// Enters; `None` if the thread is inside already.
    pub(super) fn enter() -> Option<Inside> {
        (!INSIDE.replace(true)).then_some(Inside(()))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}
