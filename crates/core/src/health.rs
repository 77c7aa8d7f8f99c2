//! What became of the calls: every one that reached a recorder is counted once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// It was captured into a CUDA graph: its lines are on disk, its tensors are not.
    Captured,
    /// The filter left it out.
    Filtered,
    /// The limit on the number of calls was reached.
    OverCount,
    /// The limit on bytes was reached.
    OverSize,
    /// Recording failed before the call ran; nothing of it is on disk.
    NotRecorded,
    /// Its inputs are on disk; what became of it could not be written.
    Unfinished,
    /// Its [`PendingCall`](crate::PendingCall) was dropped: nobody said what became of it.
    Abandoned,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Ending; 11] = [
        Ending::Logged,
        Ending::Recorded,
        Ending::Failed,
        Ending::OutputsSkipped,
        Ending::Captured,
        Ending::Filtered,
        Ending::OverCount,
        Ending::OverSize,
        Ending::NotRecorded,
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

    /// Says in one sentence how many calls were lost and why; `None` if none was.
    pub fn losses(&self) -> Option<String> {
        let lost: Vec<_> = self.endings.iter().filter(|(ending, _)| ending.is_loss()).collect();
        let total: u64 = lost.iter().map(|(_, count)| **count).sum();
        if total == 0 {
            return None;
        }
        let reasons: Vec<_> = lost.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        let mut text =
            format!("{total} of {} calls were not recorded whole: {}", self.reached, reasons.join(", "));
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
    faults: Mutex<BTreeMap<FaultKind, (u64, String)>>,
}

impl Books {
    pub(crate) fn reach(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fault; tells whether it is the first of its kind.
    pub(crate) fn fault(&self, kind: FaultKind, text: &str) -> bool {
        // A panic while the lock was held leaves whole entries: counting goes on.
        let mut faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let entry = faults.entry(kind).or_insert_with(|| (0, text.to_owned()));
        entry.0 += 1;
        entry.0 == 1
    }

    pub(crate) fn health(&self) -> Health {
        let endings =
            Ending::ALL.map(|ending| (ending, self.endings[ending as usize].load(Ordering::Relaxed)));
        let faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Health {
            // Read last: a call is reached before it ends.
            reached: self.reached.load(Ordering::Relaxed),
            endings: endings.into_iter().filter(|(_, count)| *count > 0).collect(),
            faults: faults
                .iter()
                .map(|(kind, (count, first))| Fault { kind: *kind, count: *count, first: first.clone() })
                .collect(),
        }
    }
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
        assert!(books.fault(FaultKind::Inputs, "no space"));
        assert!(!books.fault(FaultKind::Inputs, "still no space"));
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
    fn nothing_is_said_where_nothing_was_lost() {
        let books = Books::default();
        books.reach();
        books.end(Ending::Filtered);
        assert_eq!(books.health().losses(), None);
    }
}
