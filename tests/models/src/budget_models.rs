//! The budget, with two and three threads that take from it at once.

use std::sync::Arc;

use crate::budget::Budget;
use crate::limits::Limits;

/// Why nothing can fail.
const OWN: &str = "the counters are in memory";

/// What a thread kept: calls and bytes.
type Kept = (u64, u64);

/// What a thread asks for: calls, and for each the bytes of its parts.
type Asked = &'static [&'static [u64]];

/// Takes calls from the budget and keeps those whose parts all fit; a byte of each part is given back.
fn take(budget: &Arc<Budget>, calls: Asked) -> Kept {
    let mut kept = (0, 0);
    for parts in calls {
        let Some(mut reservation) = budget.take_call().expect(OWN) else { continue };
        if parts.iter().all(|part| reservation.grow(*part).expect(OWN)) {
            let bytes = parts.iter().map(|part| part - 1).sum();
            reservation.spend(bytes);
            reservation.keep_call();
            kept = (kept.0 + 1, kept.1 + bytes);
        }
    }
    kept
}

/// Runs threads in every order; none of them may keep more than there is, and what is left over is there again.
fn check(limits: Limits, threads: &'static [Asked]) -> usize {
    crate::orders(move || {
        let budget = Arc::new(Budget::new(limits, None));
        let others: Vec<_> = threads[1..]
            .iter()
            .map(|calls| {
                let budget = budget.clone();
                loom::thread::spawn(move || take(&budget, calls))
            })
            .collect();
        let mut kept = take(&budget, threads[0]);
        for other in others {
            let more = other.join().expect("no thread panics");
            kept = (kept.0 + more.0, kept.1 + more.1);
        }
        assert!(kept.0 <= limits.max_count, "{} calls of {}", kept.0, limits.max_count);
        assert!(kept.1 <= limits.max_bytes, "{} bytes of {}", kept.1, limits.max_bytes);
        let Some(mut rest) = budget.take_call().expect(OWN) else {
            assert_eq!(limits.max_count, kept.0, "a call that was not kept is back");
            return;
        };
        assert_eq!(rest.number(), kept.0 + 1, "a call that was not kept is back");
        assert!(
            rest.grow(limits.max_bytes - kept.1).expect(OWN) && !rest.grow(1).expect(OWN),
            "bytes that were not spent are back"
        );
    })
}

/// Two threads take two calls each; two calls are allowed.
pub(crate) fn two_threads_take_calls() -> usize {
    check(Limits { max_count: 2, max_bytes: 100, min_free_bytes: 0 }, &[&[&[], &[]], &[&[], &[]]])
}

/// Two threads take a call of two parts each; the bytes allow three of the parts.
pub(crate) fn two_threads_take_bytes() -> usize {
    check(Limits { max_count: 9, max_bytes: 10, min_free_bytes: 0 }, &[&[&[3, 4]], &[&[4, 3]]])
}

/// Three threads take a call each; one is allowed.
pub(crate) fn three_threads_take_calls() -> usize {
    check(Limits { max_count: 1, max_bytes: 100, min_free_bytes: 0 }, &[&[&[]], &[&[]], &[&[]]])
}
