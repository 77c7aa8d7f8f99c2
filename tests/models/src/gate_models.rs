//! The gate before a sink that fails, with threads that ask it at once.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::gate::{FailurePolicy, Gate};

/// No time passes in a model.
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// What a thread saw: calls that were let through, calls that were not, and of how many it was told when recording
/// resumed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    tried: u64,
    refused: u64,
    told: u64,
    resumed: u64,
}

impl Seen {
    fn and(self, other: Seen) -> Seen {
        Seen {
            tried: self.tried + other.tried,
            refused: self.refused + other.refused,
            told: self.told + other.told,
            resumed: self.resumed + other.resumed,
        }
    }
}

/// Makes so many calls through the gate, to a sink that works or does not.
fn call(gate: &Gate, calls: usize, works: bool) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..calls {
        let Ok(pass) = gate.enter(NOW) else {
            seen.refused += 1;
            continue;
        };
        seen.tried += 1;
        if works {
            let skipped = pass.succeeded();
            seen.resumed += u64::from(skipped.is_some());
            seen.told += skipped.unwrap_or_default();
        } else {
            pass.failed(NOW);
        }
    }
    seen
}

/// Lets threads ask a gate that one failure closed without a pause.
fn check(threads: usize, calls: usize, works: bool, judge: fn(Seen)) -> usize {
    crate::orders(move || {
        let gate = Arc::new(Gate::new(FailurePolicy::Skip));
        gate.failed(NOW);
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let gate = gate.clone();
                loom::thread::spawn(move || call(&gate, calls, works))
            })
            .collect();
        let seen = call(&gate, calls, works);
        judge(others.into_iter().fold(seen, |seen, other| seen.and(other.join().expect("no thread panics"))));
        assert_eq!(gate.enter(NOW).is_ok(), works);
    })
}

/// Two threads make two calls each while the sink fails: one of them is the probe, and its pause holds for all.
pub(crate) fn two_threads_probe_a_sink_that_fails() -> usize {
    check(2, 2, false, |seen| assert_eq!((seen.tried, seen.refused), (1, 3)))
}

/// Three threads make a call each when the sink works again: one of them resumes, and tells of those that were refused.
pub(crate) fn three_threads_probe_a_sink_that_works_again() -> usize {
    check(3, 1, true, |seen| assert_eq!((seen.resumed, seen.told), (1, seen.refused)))
}
