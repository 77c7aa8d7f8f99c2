//! What an input may cost.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::allocator::{alone, peak_of};

/// CPU time that an input may take, also in a build that checks every access.
pub const CPU_TIME: Duration = Duration::from_secs(1);
/// Memory that an input may take whatever its size.
const MEMORY: usize = 64 << 20;

/// Runs a target on an input and panics where that takes too much time or memory.
///
/// The time is this process's own: a busy machine does not make an input look dear.
pub fn bounded(run: fn(&[u8]), input: &[u8]) {
    let _alone = alone();
    let start = cpu_time();
    let peak = peak_of(|| run(input));
    let time = cpu_time().saturating_sub(start);
    assert!(peak <= memory_allowed(input.len()), "{peak} bytes of memory for an input of {}", input.len());
    assert!(time <= CPU_TIME, "{time:?} for an input of {} bytes", input.len());
}

/// Returns the bytes of memory that an input of `len` bytes may take.
pub fn memory_allowed(len: usize) -> usize {
    MEMORY + 2 * len
}

fn cpu_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    // The time that was spent is never negative.
    Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or_default())
}
