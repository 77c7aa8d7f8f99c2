//! Which part of a test is run, and how much of it.

use std::env;
use std::thread;

use callbox_tests::{given_seed, soaks};

/// Returns the seed of `CALLBOX_SEED`, or the usual one: a run of the tests can be had again without being told.
pub(crate) fn seed() -> u64 {
    given_seed().unwrap_or(20_251_204)
}

/// Returns the numbers of the one place in the test that a variable names: `3/1/14/2`.
pub(crate) fn only(name: &str) -> Option<Vec<usize>> {
    let text = variable(name)?;
    let numbers: Result<Vec<usize>, _> = text.split('/').map(str::parse).collect();
    Some(numbers.unwrap_or_else(|_| panic!("{name} is {text:?}, and not numbers with slashes between them")))
}

/// How the variables must stand to run one place again.
pub(crate) fn replay(name: &str, place: &[usize]) -> String {
    let soak = if soaks() { "CALLBOX_SOAK=1 " } else { "" };
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
