//! What became of the calls: every one that reached a recorder is counted once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// How a call ended for its recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// Its lines are in the log; its level asks for no more.
    Logged,
    /// Its inputs and outputs are on disk.
    Recorded,
    /// It returned an error or panicked; its inputs and the error are on disk.
    Failed,
    /// It returned; its inputs are on disk, its outputs did not fit or could not be written.
    OutputsSkipped,
    /// It was captured into a CUDA graph: its lines are on disk, its tensors are when it is flushed.
    Captured,
    /// The filter left it out.
    Filtered,
    /// The limit on the number of calls was reached.
    OverCount,
    /// The limit on bytes was reached.
    OverSize,
    /// Recording failed before the call ran; nothing of it is on disk.
    NotRecorded,
    /// It would have taken space that is to stay free on the disk.
    LowSpace,
    /// Recording rested after failures of the sink.
    Resting,
    /// Recording was stopped by a failure of the sink.
    Stopped,
    /// Its inputs are on disk; what became of it could not be written.
    Unfinished,
    /// Its [`PendingCall`](crate::PendingCall) was dropped: nobody said what became of it.
    Abandoned,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Ending; 14] = [
        Ending::Logged,
        Ending::Recorded,
        Ending::Failed,
        Ending::OutputsSkipped,
        Ending::Captured,
        Ending::Filtered,
        Ending::OverCount,
        Ending::OverSize,
        Ending::NotRecorded,
        Ending::LowSpace,
        Ending::Resting,
        Ending::Stopped,
        Ending::Unfinished,
        Ending::Abandoned,
    ];

    /// Tells whether something was lost that the level and the filter asked for.
    pub fn is_loss(self) -> bool {
        match self {
            Ending::Logged | Ending::Recorded | Ending::Failed | Ending::Captured | Ending::Filtered => false,
            Ending::OutputsSkipped
            | Ending::OverCount
            | Ending::OverSize
            | Ending::NotRecorded
            | Ending::LowSpace
            | Ending::Resting
            | Ending::Stopped
            | Ending::Unfinished
            | Ending::Abandoned => true,
        }
    }
}

/// Says it in words that follow a number: `3 over the size limit`.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ending::Logged => "logged",
            Ending::Recorded => "recorded",
            Ending::Failed => "recorded as failed",
            Ending::OutputsSkipped => "recorded without outputs",
            Ending::Captured => "captured into a CUDA graph",
            Ending::Filtered => "left out by the filter",
            Ending::OverCount => "over the limit of calls",
            Ending::OverSize => "over the size limit",
            Ending::NotRecorded => "not recorded because of errors",
            Ending::LowSpace => "not recorded, to keep space free",
            Ending::Resting => "skipped after errors",
            Ending::Stopped => "skipped after recording was stopped",
            Ending::Unfinished => "recorded without an ending because of errors",
            Ending::Abandoned => "abandoned",
        })
    }
}

/// What recording tried when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Writing to the call log.
    Log,
    /// Turning arguments or results into values.
    Values,
    /// Writing inputs or their lines.
    Inputs,
    /// Writing outputs or their lines.
    Outputs,
    /// Removing what a failed recording left.
    Cleanup,
    /// Giving back what was reserved of limits that processes share.
    Limits,
    /// Writing what captured calls left, after their graph ran.
    Flush,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Log,
        FaultKind::Values,
        FaultKind::Inputs,
        FaultKind::Outputs,
        FaultKind::Cleanup,
        FaultKind::Limits,
        FaultKind::Flush,
    ];
}

/// Says it in words: `writing inputs`.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Log => "writing to the log",
            FaultKind::Values => "describing values",
            FaultKind::Inputs => "writing inputs",
            FaultKind::Outputs => "writing outputs",
            FaultKind::Cleanup => "cleaning up",
            FaultKind::Limits => "giving back to the limits",
            FaultKind::Flush => "flushing captured calls",
        })
    }
}

/// Faults of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was tried.
    pub kind: FaultKind,
    /// How often it failed.
    pub count: u64,
    /// The first error.
    pub first: String,
}

/// A recorder's books at one moment.
///
/// ```
/// use callbox_core::{Ending, Health};
///
/// let health = Health::default();
/// assert_eq!((health.reached, health.count(Ending::Recorded)), (0, 0));
/// assert!(health.losses().is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Calls that reached the recorder. Those that have not ended are still running.
    pub reached: u64,
    /// Calls by how they ended, without those that are zero.
    pub endings: BTreeMap<Ending, u64>,
    /// What failed, by kind.
    pub faults: Vec<Fault>,
    /// Of the calls that ended as [`Ending::Captured`] those that were flushed at least once.
    pub flushed: u64,
}

impl Health {
    /// Returns the calls that ended in one way.
    pub fn count(&self, ending: Ending) -> u64 {
        self.endings.get(&ending).copied().unwrap_or_default()
    }

    /// Returns the calls that have not ended.
    pub fn running(&self) -> u64 {
        self.reached.saturating_sub(self.endings.values().sum())
    }

    /// Returns the calls that were captured into a CUDA graph and not flushed so far.
    pub fn unflushed(&self) -> u64 {
        self.count(Ending::Captured).saturating_sub(self.flushed)
    }

    /// Says in one sentence how many calls were lost and why, or what else failed; `None` if nothing did.
    pub fn losses(&self) -> Option<String> {
        let lost: Vec<_> = self.endings.iter().filter(|(ending, _)| ending.is_loss()).collect();
        let total = lost.iter().map(|(_, count)| **count).sum::<u64>() + self.unflushed();
        let mut reasons: Vec<_> = lost.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        if self.unflushed() > 0 {
            reasons.push(format!("{} {} and never flushed", self.unflushed(), Ending::Captured));
        }
        let mut text = match total {
            0 if self.faults.is_empty() => return None,
            0 => format!("none of {} calls is lost", self.reached),
            _ => format!("{total} of {} calls were not recorded whole: {}", self.reached, reasons.join(", ")),
        };
        for Fault { kind, count, first } in &self.faults {
            let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
            text.push_str(&format!("; {kind} failed {times}, first: {first}"));
        }
        Some(text)
    }
}

/// The running counts behind [`Health`].
#[derive(Debug, Default)]
pub(crate) struct Books {
    reached: AtomicU64,
    endings: [AtomicU64; Ending::ALL.len()],
    flushed: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
    /// The first error of each kind.
    first: Mutex<BTreeMap<FaultKind, String>>,
}

impl Books {
    pub(crate) fn reach(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a captured call that was flushed for the first time.
    pub(crate) fn flush(&self) {
        self.flushed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fault; the first of its kind is kept.
    pub(crate) fn fault(&self, kind: FaultKind, text: &str) {
        let is_first = self.faults[kind as usize].fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && let Some(mut first) = lock_soon(&self.first) {
            first.insert(kind, text.to_owned());
        }
    }

    pub(crate) fn health(&self) -> Health {
        let endings =
            Ending::ALL.map(|ending| (ending, self.endings[ending as usize].load(Ordering::Relaxed)));
        let flushed = self.flushed.load(Ordering::Relaxed);
        let first = lock_soon(&self.first);
        let text = |kind| first.as_ref().and_then(|first| first.get(&kind).cloned()).unwrap_or_default();
        let faults = FaultKind::ALL.map(|kind| {
            let count = self.faults[kind as usize].load(Ordering::Relaxed);
            Fault { kind, count, first: text(kind) }
        });
        Health {
            // Read last: a call is reached before it ends.
            reached: self.reached.load(Ordering::Relaxed),
            endings: endings.into_iter().filter(|(_, count)| *count > 0).collect(),
            faults: faults.into_iter().filter(|fault| fault.count > 0).collect(),
            flushed,
        }
    }
}

/// Takes a lock that nobody holds for longer than a moment. `None`: its holder is gone, in the parent of a fork.
pub(crate) fn lock_soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    const TRIES: usize = 100_000;
    (0..TRIES).find_map(|_| match mutex.try_lock() {
        Ok(guard) => Some(guard),
        // A panic while the lock was held leaves whole entries.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {
            std::hint::spin_loop();
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_with_their_number_and_their_reason() {
        let books = Books::default();
        for ending in [Ending::Recorded, Ending::OverSize, Ending::OverSize, Ending::NotRecorded] {
            books.reach();
            books.end(ending);
        }
        books.fault(FaultKind::Inputs, "no space");
        books.fault(FaultKind::Inputs, "still no space");
        books.reach();
        let health = books.health();
        assert_eq!(health.running(), 1);
        assert_eq!(
            health.losses().unwrap(),
            "3 of 5 calls were not recorded whole: 2 over the size limit, 1 not recorded because of errors; \
             writing inputs failed 2 times, first: no space"
        );
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_though_no_call_is_lost() {
        let books = Books::default();
        books.reach();
        books.end(Ending::Recorded);
        books.fault(FaultKind::Log, "no space");
        assert_eq!(
            books.health().losses().unwrap(),
            "none of 1 calls is lost; writing to the log failed once, first: no space"
        );
    }

    #[test]
    fn captured_calls_are_lost_until_they_are_flushed() {
        let books = Books::default();
        for _ in 0..3 {
            books.reach();
            books.end(Ending::Captured);
        }
        books.flush();
        assert_eq!(
            books.health().losses().unwrap(),
            "2 of 3 calls were not recorded whole: 2 captured into a CUDA graph and never flushed"
        );
        books.flush();
        books.flush();
        assert_eq!(books.health().losses(), None);
    }

    #[test]
    fn nothing_is_said_where_nothing_was_lost() {
        let books = Books::default();
        books.reach();
        books.end(Ending::Filtered);
        assert_eq!(books.health().losses(), None);
    }
}
