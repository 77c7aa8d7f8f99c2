//! Which part of a test is run, how much of it, and random numbers that can be had again.

use std::env;
use std::thread;

/// A sequence of random numbers (xorshift64*).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed and of a place in the test, so that each place can be had again alone.
    pub(crate) fn of(seed: u64, place: &[usize]) -> Random {
        let mut random = Random(seed | 1);
        for number in place {
            random.0 = (random.next() ^ *number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Returns the seed of `CALLBOX_SEED`, or the usual one: a run of the tests can be had again without being told.
pub(crate) fn seed() -> u64 {
    variable("CALLBOX_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(20_251_204)
}

/// Tells whether the large sizes are asked for.
pub(crate) fn is_soak() -> bool {
    variable("CALLBOX_SOAK").is_some_and(|value| value != "0")
}

/// Returns the numbers of the one place in the test that a variable names: `3/1/14/2`.
pub(crate) fn only(name: &str) -> Option<Vec<usize>> {
    let text = variable(name)?;
    let numbers: Result<Vec<usize>, _> = text.split('/').map(str::parse).collect();
    Some(numbers.unwrap_or_else(|_| panic!("{name} is {text:?}, and not numbers with slashes between them")))
}

/// How the variables must stand to run one place again.
pub(crate) fn replay(name: &str, place: &[usize]) -> String {
    let soak = if is_soak() { "CALLBOX_SOAK=1 " } else { "" };
    let place: Vec<String> = place.iter().map(usize::to_string).collect();
    format!("{soak}CALLBOX_SEED={} {name}={}", seed(), place.join("/"))
}

#[expect(clippy::disallowed_methods, reason = "a test is chosen by the environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Does work of many parts on all processors, until it is done or a part of it fails.
pub(crate) fn spread<T: Sync>(
    parts: &[T],
    work: impl Fn(&T) -> Result<(), String> + Sync,
) -> Result<(), String> {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(fault) = work(part) {
                next.store(parts.len(), Ordering::Relaxed);
                return Err(fault);
            }
        }
        Ok(())
    };
    // More than there are processors: some of the work is waiting for a lock.
    let workers = 2 * thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(take)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
