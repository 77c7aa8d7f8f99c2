//! Local time.

use std::sync::atomic::{AtomicI64, Ordering};

use callbox_core::Clock;
use time::{OffsetDateTime, UtcOffset};

/// Local offsets change at whole quarters of an hour at the earliest, so an answer holds until the next one.
///
/// The question itself is cheap (about 40 ns, beside 35 ns for the time itself). But the C library
/// answers under a lock of the whole process, and a child that is forked while another thread holds it may wait for
/// ever: once a quarter of an hour that is as good as never met, once a call it is not.
const OFFSET_HOLDS_SECONDS: i64 = 15 * 60;
/// A quarter that no clock shows: nothing is known yet.
const UNKNOWN: i64 = i64::MIN;

/// Tells local time by the operating system, in processes of several threads too; universal time where the time
/// zone cannot be told.
///
/// ```
/// use callbox_core::Clock;
/// use callbox_system::SystemClock;
///
/// let clock = SystemClock::new();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Debug)]
pub struct SystemClock {
    /// The quarter of an hour for which an offset was asked, and that offset in seconds: `quarter << 20 | offset`.
    known: AtomicI64,
}

impl SystemClock {
    /// Returns a clock; the time zone is asked for when it is needed.
    pub fn new() -> SystemClock {
        SystemClock { known: AtomicI64::new(UNKNOWN) }
    }

    fn offset(&self, now: OffsetDateTime) -> UtcOffset {
        let quarter = now.unix_timestamp().div_euclid(OFFSET_HOLDS_SECONDS);
        let known = self.known.load(Ordering::Relaxed);
        if known != UNKNOWN && known >> OFFSET_BITS == quarter {
            return unpack(known);
        }
        let offset = UtcOffset::local_offset_at(now).unwrap_or(UtcOffset::UTC);
        self.known.store(pack(quarter, offset), Ordering::Relaxed);
        offset
    }
}

/// Asks for the time zone when it is needed.
impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = OffsetDateTime::from(std::time::SystemTime::now());
        now.to_offset(self.offset(now))
    }
}

/// Room for any offset in seconds, shifted to be positive.
const OFFSET_BITS: u32 = 20;
const OFFSET_SHIFT: i64 = 1 << (OFFSET_BITS - 1);

fn pack(quarter: i64, offset: UtcOffset) -> i64 {
    quarter << OFFSET_BITS | (i64::from(offset.whole_seconds()) + OFFSET_SHIFT)
}

fn unpack(known: i64) -> UtcOffset {
    let seconds = (known & ((1 << OFFSET_BITS) - 1)) - OFFSET_SHIFT;
    let seconds = i32::try_from(seconds).unwrap_or_default();
    UtcOffset::from_whole_seconds(seconds).unwrap_or(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_survives_being_kept() {
        for seconds in [-12 * 3600, -1, 0, 5 * 3600 + 45 * 60, 14 * 3600] {
            let offset = UtcOffset::from_whole_seconds(seconds).unwrap();
            for quarter in [-3, 0, 1_950_000] {
                let known = pack(quarter, offset);
                assert_eq!((known >> OFFSET_BITS, unpack(known)), (quarter, offset));
            }
        }
    }

    #[test]
    fn the_time_is_the_system_s() {
        let clock = SystemClock::new();
        let (first, second) = (clock.now(), clock.now());
        assert!(first <= second && first.offset() == second.offset());
        #[expect(clippy::disallowed_methods, reason = "compared with the clock")]
        let system = OffsetDateTime::from(std::time::SystemTime::now());
        assert!((system - second).abs() < time::Duration::seconds(5));
    }
}
