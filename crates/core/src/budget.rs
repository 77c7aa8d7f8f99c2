//! What is left of the limits, and who has reserved what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{SinkError, chain};
use crate::health::{Books, FaultKind};
use crate::limits::{Limits, Usage};
use crate::planted;
use crate::ports::{Host, UsageCounter, UsageStore};
use crate::process::Process;
use crate::recorder::guarded;
use crate::sync::AtomicU64;

/// What is left of the limits. Exact across threads, and across processes where they share them: nothing is written
/// that was not reserved before.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    calls: AtomicU64,
    bytes: AtomicU64,
    /// Counts in place of these two, for all processes.
    shared: Option<SharedUsage>,
}

/// Where the usage is counted for this process and others.
#[derive(Debug)]
pub(crate) struct SharedUsage {
    pub(crate) store: Arc<dyn UsageStore>,
    /// Whose reservations are given back: after a fork those of the parent are not the child's.
    pub(crate) process: Arc<Process>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) books: Arc<Books>,
}

/// A part of the budget; what is not spent of it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    /// What it was taken from, and goes back to; `None`: from this process's own.
    counter: Option<Arc<dyn UsageCounter>>,
    /// Calls taken so far, this one among them.
    number: u64,
    unspent: u64,
    /// The call goes back to the budget unless it was dumped.
    is_dumped: bool,
}

impl Budget {
    pub(crate) fn new(limits: Limits, shared: Option<SharedUsage>) -> Budget {
        Budget { limits, calls: AtomicU64::new(0), bytes: AtomicU64::new(0), shared }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Says whose calls and bytes are counted, where these are not this process's alone.
    pub(crate) fn whose(&self) -> &'static str {
        if self.shared.is_some() { " by all processes of the session" } else { "" }
    }

    /// Returns the calls dumped, or being dumped, by this process.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the bytes spent and reserved by this process.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes one call; `None` if there is none left. An error: the shared usage could not be counted.
    pub(crate) fn take_call(self: &Arc<Budget>) -> Result<Option<Reservation>, SinkError> {
        let counter = self.shared.as_ref().map(|shared| shared.store.counter()).transpose()?;
        let number = match &counter {
            None => add_up_to(&self.calls, 1, self.limits.max_count),
            Some(counter) => {
                let usage = counter.take(Usage { calls: 1, bytes: 0 }, self.limits.most())?;
                usage.map(|usage| usage.calls)
            }
        };
        Ok(number.map(|number| Reservation {
            budget: self.clone(),
            counter,
            number,
            unspent: 0,
            is_dumped: false,
        }))
    }
}

impl SharedUsage {
    /// Gives back what was taken. What cannot be given back counts as used: less is dumped than might be, never more.
    fn give_back(&self, counter: &dyn UsageCounter, amount: Usage) {
        let given_back = guarded(|| {
            if self.host.process() != self.process && !planted::bug("limits_given_back_by_a_child") {
                return Ok(());
            }
            counter.give_back(amount).map_err(|error| chain(&error))
        });
        if let Err(text) = given_back {
            let Usage { calls, bytes } = amount;
            let text = format!("{calls} calls and {bytes} bytes stay counted as used: {text}");
            self.books.fault(FaultKind::Limits, &text);
        }
    }
}

impl Reservation {
    /// Returns how many calls were taken when this one was, itself among them.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes more bytes: all of them or none. `true` tells that they are reserved.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<bool, SinkError> {
        let limits = self.budget.limits;
        let fits = match &self.counter {
            None => add_up_to(&self.budget.bytes, bytes, limits.max_bytes).is_some(),
            Some(_) if bytes == 0 => true,
            Some(counter) => counter.take(Usage { calls: 0, bytes }, limits.most())?.is_some(),
        };
        if fits {
            self.unspent += bytes;
        }
        Ok(fits)
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

    /// Gives back what is not spent so far; more can be taken later.
    pub(crate) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.unspent);
        self.give_back(Usage { calls: 0, bytes });
    }

    fn give_back(&self, amount: Usage) {
        match (&self.counter, &self.budget.shared) {
            _ if amount == Usage::default() => {}
            (Some(counter), Some(shared)) => shared.give_back(&**counter, amount),
            (None, _) | (_, None) => {
                self.budget.bytes.fetch_sub(amount.bytes, Ordering::Relaxed);
                self.budget.calls.fetch_sub(amount.calls, Ordering::Relaxed);
            }
        }
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
        self.give_back(Usage { calls: u64::from(!self.is_dumped), bytes: self.unspent });
    }
}

/// Adds to a counter and returns the sum, unless that is past its limit.
fn add_up_to(counter: &AtomicU64, amount: u64, limit: u64) -> Option<u64> {
    if planted::bug("check_then_act") {
        let sum = counter.load(Ordering::Relaxed).checked_add(amount).filter(|sum| *sum <= limit)?;
        counter.fetch_add(amount, Ordering::Relaxed);
        return Some(sum);
    }
    let added = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| {
        value.checked_add(amount).filter(|sum| *sum <= limit)
    });
    added.ok().map(|before| before + amount)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn budget(max_count: u64, max_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(Limits { max_count, max_bytes, ..Limits::default() }, None))
    }

    #[test]
    fn what_is_not_spent_goes_back() {
        let budget = budget(1, 100);
        let mut first = budget.take_call().unwrap().unwrap();
        assert_eq!((first.number(), first.limits().max_bytes), (1, 100));
        assert!(budget.take_call().unwrap().is_none());
        assert!(first.grow(100).unwrap() && !first.grow(1).unwrap());
        first.spend(30);
        drop(first);
        assert_eq!((budget.calls(), budget.bytes()), (0, 30));

        let mut second = budget.take_call().unwrap().unwrap();
        assert!(!second.grow(71).unwrap() && second.grow(70).unwrap());
        second.keep_call();
        drop(second);
        assert_eq!((budget.calls(), budget.bytes()), (1, 30));
        assert!(budget.take_call().unwrap().is_none());
    }

    #[test]
    fn calls_are_numbered_as_they_are_taken() {
        let budget = budget(3, 0);
        let taken: Vec<_> = (0..3).map(|_| budget.take_call().unwrap().unwrap()).collect();
        assert_eq!(taken.iter().map(Reservation::number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(budget.limits().max_count, 3);
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let budget = budget(100, 1000);
        let kept: u64 = thread::scope(|scope| {
            let take = || {
                let mut kept = 0;
                for _ in 0..200 {
                    let Some(mut reservation) = budget.take_call().unwrap() else { continue };
                    if reservation.grow(7).unwrap() {
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
