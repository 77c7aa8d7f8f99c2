//! Whether calls are dumped while the sink fails: the disk is full, say, and space may return.
//!
//! ```text
//!        failure                      failure of a probe
//! Open ----------> Resting (pause 0) --------------------> Resting (100 ms, 200 ms, ... 30 s)
//!   ^                 |                                        |
//!   +-----------------+----------------------------------------+   a probe that succeeds
//! ```
//!
//! While recording rests, calls are counted and not dumped. When the pause is over, one call is dumped to see whether
//! the sink works again: a probe. The first pause is none at all, so that a fault that passes costs its call alone.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use crate::health::lock_soon;
use crate::planted;
use crate::sync::{AtomicBool, Mutex};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of later calls when the sink has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Calls are skipped for a while, then one is tried; recording resumes with the first that succeeds.
    #[default]
    Skip,
    /// No more calls are dumped in this process.
    Stop,
}

/// A text that names no policy.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no policy: give skip or stop")]
pub struct ParseFailurePolicyError(String);

/// Writes the name as `FLASHINFER_DUMP_ON_FAILURE` spells it.
impl fmt::Display for FailurePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailurePolicy::Skip => "skip",
            FailurePolicy::Stop => "stop",
        })
    }
}

impl FromStr for FailurePolicy {
    type Err = ParseFailurePolicyError;

    /// Reads `skip` or `stop`.
    fn from_str(text: &str) -> Result<FailurePolicy, ParseFailurePolicyError> {
        match text {
            "skip" => Ok(FailurePolicy::Skip),
            "stop" => Ok(FailurePolicy::Stop),
            other => Err(ParseFailurePolicyError(other.to_owned())),
        }
    }
}

/// Lets calls through to the sink, or not.
#[derive(Debug)]
pub(crate) struct Gate {
    policy: FailurePolicy,
    /// Asked first, without a lock: nothing else is while all is well.
    is_closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    Resting(Rest),
    Stopped,
}

#[derive(Debug)]
struct Rest {
    since: OffsetDateTime,
    pause: Duration,
    /// A call is being tried.
    is_probing: bool,
    skipped: u64,
}

/// A call that may be dumped. Dropped without an outcome it says nothing of the sink.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    is_probe: bool,
}

/// Why a call may not be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Recording rests after a failure.
    Resting,
    /// It was stopped by one.
    Stopped,
}

/// What follows from a failure; what it says of itself completes a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The next call is tried.
    NextIsTried,
    /// Calls are not dumped for so long.
    Pause(Duration),
    /// No more calls are dumped.
    Stop,
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consequence::NextIsTried => f.write_str("the next call is tried"),
            Consequence::Pause(pause) => write!(f, "calls are not dumped for {} s", pause.as_secs_f64()),
            Consequence::Stop => f.write_str("no more calls are dumped"),
        }
    }
}

impl Gate {
    pub(crate) fn new(policy: FailurePolicy) -> Gate {
        Gate { policy, is_closed: AtomicBool::new(false), state: Mutex::default() }
    }

    /// Asks for a call.
    pub(crate) fn enter(&self, now: OffsetDateTime) -> Result<Pass<'_>, Closed> {
        let pass = Pass { gate: self, is_probe: false };
        if !self.is_closed.load(Ordering::Acquire) {
            return Ok(pass);
        }
        // Whoever holds the lock for long is gone; a call too many does no harm.
        let Some(mut state) = lock_soon(&self.state) else { return Ok(pass) };
        match &mut *state {
            State::Open => Ok(pass),
            State::Stopped => Err(Closed::Stopped),
            State::Resting(rest) if rest.is_probing || rest.lasts(now) => {
                rest.skipped += 1;
                Err(Closed::Resting)
            }
            State::Resting(rest) => {
                rest.is_probing = true;
                Ok(Pass { is_probe: true, ..pass })
            }
        }
    }

    /// Tells that the sink failed a call that was let through some time ago.
    pub(crate) fn failed(&self, now: OffsetDateTime) -> Consequence {
        self.close(now, false)
    }

    fn close(&self, now: OffsetDateTime, by_probe: bool) -> Consequence {
        if self.policy == FailurePolicy::Stop {
            if let Some(mut state) = lock_soon(&self.state) {
                *state = State::Stopped;
                self.is_closed.store(true, Ordering::Release);
            }
            return Consequence::Stop;
        }
        let Some(mut state) = lock_soon(&self.state) else { return Consequence::NextIsTried };
        match &mut *state {
            State::Open => {
                let pause = Duration::ZERO;
                *state = State::Resting(Rest { since: now, pause, is_probing: false, skipped: 0 });
                self.is_closed.store(true, Ordering::Release);
                Consequence::NextIsTried
            }
            State::Resting(rest) if by_probe && !planted::bug("no_back_off") => {
                rest.since = now;
                rest.pause = (rest.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                Consequence::Pause(rest.pause)
            }
            // Calls that were under way when another one failed tell nothing new.
            State::Resting(rest) if rest.pause.is_zero() => Consequence::NextIsTried,
            State::Resting(rest) => Consequence::Pause(rest.pause),
            State::Stopped => Consequence::Stop,
        }
    }
}

impl Rest {
    /// Tells whether the pause is not over. A clock that was set back ends it.
    fn lasts(&self, now: OffsetDateTime) -> bool {
        self.since <= now && now < self.since + self.pause
    }
}

impl Pass<'_> {
    /// Tells that the sink took the call. `Some`: recording resumes, so many calls were skipped.
    pub(crate) fn succeeded(self) -> Option<u64> {
        if !self.is_probe {
            return None;
        }
        let mut state = lock_soon(&self.gate.state)?;
        let State::Resting(rest) = &*state else { return None };
        let skipped = rest.skipped;
        if planted::bug("never_resumes") {
            return Some(skipped);
        }
        *state = State::Open;
        self.gate.is_closed.store(false, Ordering::Release);
        Some(skipped)
    }

    /// Tells that the sink failed.
    pub(crate) fn failed(self, now: OffsetDateTime) -> Consequence {
        self.gate.close(now, self.is_probe)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(mut state) = lock_soon(&self.gate.state)
            && let State::Resting(rest) = &mut *state
        {
            rest.is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn after(millis: u64) -> OffsetDateTime {
        START + Duration::from_millis(millis)
    }

    fn enter(gate: &Gate, millis: u64) -> Pass<'_> {
        gate.enter(after(millis)).unwrap()
    }

    #[test]
    fn a_fault_that_passes_costs_its_call_alone() {
        let gate = Gate::new(FailurePolicy::Skip);
        assert_eq!(enter(&gate, 0).failed(START), Consequence::NextIsTried);
        assert_eq!(enter(&gate, 0).succeeded(), Some(0));
        assert_eq!(enter(&gate, 0).succeeded(), None);
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_end_with_the_first_success() {
        let gate = Gate::new(FailurePolicy::Skip);
        let mut now = 0;
        enter(&gate, now).failed(after(now));
        for pause in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let consequence = enter(&gate, now).failed(after(now));
            assert_eq!(consequence, Consequence::Pause(Duration::from_millis(pause)));
            assert_eq!(gate.enter(after(now + pause - 1)).unwrap_err(), Closed::Resting);
            now += pause;
        }
        assert_eq!(enter(&gate, now).succeeded(), Some(11));
        assert_eq!(enter(&gate, now).failed(after(now)), Consequence::NextIsTried);
    }

    #[test]
    fn one_call_at_a_time_is_a_probe_and_one_that_says_nothing_makes_way_for_the_next() {
        let gate = Gate::new(FailurePolicy::Skip);
        enter(&gate, 0).failed(START);
        let probe = enter(&gate, 0);
        assert_eq!(gate.enter(START).unwrap_err(), Closed::Resting);
        drop(probe);
        assert_eq!(enter(&gate, 0).succeeded(), Some(1));
    }

    #[test]
    fn calls_that_were_under_way_lengthen_no_pause_and_open_nothing() {
        let gate = Gate::new(FailurePolicy::Skip);
        let under_way = [enter(&gate, 0), enter(&gate, 0)];
        enter(&gate, 0).failed(START);
        for (pass, fails) in under_way.into_iter().zip([true, false]) {
            match fails {
                true => assert_eq!(pass.failed(START), Consequence::NextIsTried),
                false => assert_eq!(pass.succeeded(), None),
            }
        }
        assert_eq!(gate.failed(START), Consequence::NextIsTried);
        assert_eq!(enter(&gate, 0).succeeded(), Some(0));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_pause() {
        let gate = Gate::new(FailurePolicy::Skip);
        enter(&gate, 5000).failed(after(5000));
        enter(&gate, 5000).failed(after(5000));
        assert!(gate.enter(after(5050)).is_err());
        assert_eq!(enter(&gate, 0).succeeded(), Some(1));
    }

    #[test]
    fn what_was_stopped_stays_so() {
        let gate = Gate::new(FailurePolicy::Stop);
        assert_eq!(enter(&gate, 0).failed(START), Consequence::Stop);
        assert_eq!(gate.enter(after(1 << 40)).unwrap_err(), Closed::Stopped);
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        for policy in [FailurePolicy::Skip, FailurePolicy::Stop] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert!("Skip".parse::<FailurePolicy>().is_err());
    }
}
