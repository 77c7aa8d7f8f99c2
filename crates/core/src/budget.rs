//! How much one process may dump.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::planted;
use crate::sync::AtomicU64;

/// The most that one process may dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls.
    pub max_count: u64,
    /// Bytes of all files: tensors, metadata and session lines.
    pub max_bytes: u64,
    /// Bytes that stay free where dumps go, for everybody else who writes there; 0: none.
    pub min_free_bytes: u64,
}

/// FlashInfer's defaults, 1,000 calls and 20 GB of 2^30 bytes; and 256 MiB that stay free, which FlashInfer has not.
impl Default for Limits {
    fn default() -> Limits {
        Limits { max_count: 1000, max_bytes: 20 << 30, min_free_bytes: 256 << 20 }
    }
}

/// What is left of the limits. Exact across threads: nothing is written that was not reserved before.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    calls: AtomicU64,
    bytes: AtomicU64,
}

/// A part of the budget; what is not spent of it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    unspent: u64,
    /// The call goes back to the budget unless it was dumped.
    is_dumped: bool,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Budget {
        Budget { limits, calls: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the calls dumped, or being dumped.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the bytes spent and reserved.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes one call; `None` if there is none left.
    pub(crate) fn take_call(self: &Arc<Budget>) -> Option<Reservation> {
        add_up_to(&self.calls, 1, self.limits.max_count).then(|| Reservation {
            budget: self.clone(),
            unspent: 0,
            is_dumped: false,
        })
    }
}

impl Reservation {
    /// Takes more bytes: all of them or none. `Ok` tells that they are reserved.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let fits = add_up_to(&self.budget.bytes, bytes, self.budget.limits.max_bytes);
        if fits {
            self.unspent += bytes;
        }
        fits
    }

    /// Tells that so many of the reserved bytes are on disk.
    pub(crate) fn spend(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.unspent, "{bytes} bytes were written and {} reserved", self.unspent);
        self.unspent = self.unspent.saturating_sub(bytes);
    }

    /// Tells that so many of the bytes that were spent are gone from disk.
    pub(crate) fn refund(&mut self, bytes: u64) {
        self.unspent += bytes;
    }

    /// Tells that the call's inputs are on disk.
    pub(crate) fn keep_call(&mut self) {
        self.is_dumped = true;
    }

    /// Returns the limits that all of it is within.
    pub(crate) fn limits(&self) -> Limits {
        self.budget.limits
    }

    /// Returns the bytes that are reserved and not spent.
    pub(crate) fn unspent(&self) -> u64 {
        self.unspent
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.unspent, Ordering::Relaxed);
        if !self.is_dumped {
            self.budget.calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter unless that would take it past its limit.
fn add_up_to(counter: &AtomicU64, amount: u64, limit: u64) -> bool {
    if planted::bug("check_then_act") {
        let fits = counter.load(Ordering::Relaxed).checked_add(amount).is_some_and(|sum| sum <= limit);
        return fits && counter.fetch_add(amount, Ordering::Relaxed) < u64::MAX;
    }
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| {
            value.checked_add(amount).filter(|sum| *sum <= limit)
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn budget(max_count: u64, max_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(Limits { max_count, max_bytes, ..Limits::default() }))
    }

    #[test]
    fn what_is_not_spent_goes_back() {
        let budget = budget(1, 100);
        let mut first = budget.take_call().unwrap();
        assert!(budget.take_call().is_none());
        assert!(first.grow(100) && !first.grow(1));
        first.spend(30);
        drop(first);
        assert_eq!((budget.calls(), budget.bytes()), (0, 30));

        let mut second = budget.take_call().unwrap();
        assert!(!second.grow(71) && second.grow(70));
        second.keep_call();
        drop(second);
        assert_eq!((budget.calls(), budget.bytes()), (1, 30));
        assert!(budget.take_call().is_none());
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let budget = budget(100, 1000);
        let kept: u64 = thread::scope(|scope| {
            let take = || {
                let mut kept = 0;
                for _ in 0..200 {
                    let Some(mut reservation) = budget.take_call() else { continue };
                    if reservation.grow(7) {
                        reservation.spend(7);
                        reservation.keep_call();
                        kept += 1;
                    }
                }
                kept
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((kept, budget.calls(), budget.bytes()), (100, 100, 700));
    }
}
