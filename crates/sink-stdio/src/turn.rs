//! Taking turns without waiting for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a turn is asked for before it is taken, and how long to wait in between: 50 ms and a little.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_micros(100);

/// Keeps the events of threads apart where a long text may be written in several pieces.
///
/// Not a mutex: one that another thread held during a fork stays locked in the child, and a reader that is slow to
/// empty a pipe must not queue up every thread of the application. Whoever has waited long enough takes the turn
/// over; then two events may mix, and nobody waits for an old turn again.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicBool);

/// A turn; it is over when this goes.
#[derive(Debug)]
#[must_use = "the turn lasts while this lives"]
pub(crate) struct Taken<'a>(&'a Turn);

impl Turn {
    pub(crate) const fn new() -> Turn {
        Turn(AtomicBool::new(false))
    }

    /// Takes the next turn, at the latest when the wait is over.
    pub(crate) fn take(&self) -> Taken<'_> {
        for _ in 0..TRIES {
            if !self.0.swap(true, Ordering::Acquire) {
                break;
            }
            thread::sleep(PAUSE);
        }
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::mem;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn one_thread_at_a_time_has_the_turn() {
        let (turn, inside) = (Turn::new(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _taken = turn.take();
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
    }

    #[test]
    fn a_turn_that_never_ends_is_taken_over_once() {
        let turn = Turn::new();
        mem::forget(turn.take());
        drop(turn.take());
        assert!(!turn.0.load(Ordering::Relaxed), "the next one does not wait");
    }
}
