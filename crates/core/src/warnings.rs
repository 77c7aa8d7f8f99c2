//! How often is warned: a disk that is full for a day must not fill the log as well.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;

use crate::health::lock_soon;
use crate::planted;

/// Warnings in one stretch of time, at most.
const MOST: usize = 5;
const STRETCH: Duration = Duration::from_secs(60);

/// Lets five warnings a minute through and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    times: VecDeque<OffsetDateTime>,
    held_back: u64,
}

/// The number of warnings that were held back before one that is told; says it in words that end a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack(u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str("; 1 warning before it was held back"),
            count => write!(f, "; {count} warnings before it were held back"),
        }
    }
}

impl Warnings {
    /// Asks for a warning. `None`: it is one too many, and counted.
    pub(crate) fn next(&self, now: OffsetDateTime) -> Option<HeldBack> {
        let mut recent = lock_soon(&self.0)?;
        // Of times to come a clock tells that was set back.
        recent.times.retain(|time| *time <= now && now < *time + STRETCH);
        if recent.times.len() >= MOST && !planted::bug("warnings_without_limit") {
            recent.held_back += 1;
            return None;
        }
        recent.times.push_back(now);
        Some(HeldBack(std::mem::take(&mut recent.held_back)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u16_five_warnings_a_minute_are_told_and_the_next_one_tells_how_many_were_not() {
        let warnings = Warnings::default();
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let told = |seconds| warnings.next(at(seconds)).map(|held_back| held_back.0);
        let first: Vec<_> = (0..8).map(told).collect();
        assert_eq!(first, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        assert_eq!([told(59), told(60), told(60), told(61)], [None, Some(4), None, Some(1)]);
        // The clock was set back.
        assert_eq!(told(0), Some(0));
    }
}
