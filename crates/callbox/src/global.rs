//! The application's recorder: one for the process, found by annotated functions.

use std::process;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

use callbox_core::{Callsite, Ending, Level, LiveArguments, PendingCall, Recorder, planted};

use crate::environment::warn;

/// The installed recorder's level; 0 without one.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// The recorders that are installed, the present one last.
static RECORDERS: RwLock<Vec<Recorder>> = RwLock::new(Vec::new());

/// Keeps a recorder installed. When it is dropped, annotated functions do not use it any more, and the log gets a
/// closing line if a call was lost.
#[must_use = "recording ends when this is dropped: keep it for as long as calls are to be recorded"]
#[derive(Debug)]
pub struct Guard {
    recorder: Recorder,
    /// The closing line is this process's: a forked child has not lost what its parent did.
    process: u32,
}

impl Guard {
    /// Returns the recorder.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut recorders = RECORDERS.write().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|recorder| !recorder.is(&self.recorder));
        set_level(&recorders);
        drop(recorders);
        if self.process != process::id() {
            return;
        }
        let health = self.recorder.health();
        if let Some(losses) = health.losses() {
            self.recorder.tell(&format!("callbox: {losses}"));
            // The log may be what failed, and a floor of free space is no limit that somebody has set.
            if !health.faults.is_empty() || health.count(Ending::LowSpace) > 0 {
                warn(&losses);
            }
        }
    }
}

/// Makes a recorder that of the annotated functions, until the guard is dropped; then the one that was installed
/// before it and still is, is back.
///
/// ```
/// use callbox::{Config, Level};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recording = callbox::install(Config { level: Level::Names, ..Config::default() }.recorder()?);
/// assert!(recording.recorder().health().losses().is_none());
/// # Ok(())
/// # }
/// ```
pub fn install(recorder: Recorder) -> Guard {
    if planted::bug("thread_that_stays") {
        std::thread::spawn(std::thread::park);
    }
    let mut recorders = RECORDERS.write().unwrap_or_else(PoisonError::into_inner);
    recorders.push(recorder.clone());
    set_level(&recorders);
    Guard { recorder, process: process::id() }
}

fn set_level(recorders: &[Recorder]) {
    let level = recorders.last().map_or(Level::Off, Recorder::level);
    LEVEL.store(level.number(), Ordering::Relaxed);
}

/// Writes what the tensors of captured calls hold now, for the installed recorders: to be called after each launch of a CUDA
/// graph, which need not be waited for: the streams of the tensors are. [`Recorder::flush_graph_dumps`] has the details.
///
/// Returns how many groups of tensors were written, inputs and results of each call; [`Health::flushed`](crate::Health)
/// counts the calls of which anything was written so far.
///
/// ```
/// // graph.launch()?;
/// let written = callbox::flush_graph_dumps();
/// assert_eq!(written, 0, "nothing was captured");
/// ```
pub fn flush_graph_dumps() -> usize {
    installed().iter().map(Recorder::flush_graph_dumps).sum()
}

/// Forgets the captured calls of the installed recorders and lets go of their tensors: for a CUDA graph that is given up.
/// [`Recorder::clear_graph_dumps`] has the details.
pub fn clear_graph_dumps() -> usize {
    installed().iter().map(Recorder::clear_graph_dumps).sum()
}

fn installed() -> Vec<Recorder> {
    RECORDERS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Tells whether an annotated function has anything to do besides its own work.
///
/// One relaxed load: what other threads installed a moment ago may be seen a moment later.
#[inline(always)]
pub fn enabled() -> bool {
    LEVEL.load(Ordering::Relaxed) != 0
}

/// Begins a call with the installed recorder; `None` if there is none any more.
#[cold]
#[inline(never)]
pub fn begin<'v>(
    callsite: &Callsite,
    arguments: &mut dyn FnMut() -> LiveArguments<'v>,
) -> Option<PendingCall> {
    let recorder = RECORDERS.read().unwrap_or_else(PoisonError::into_inner).last().cloned()?;
    Some(recorder.begin(callsite, arguments))
}

#[cfg(test)]
mod tests {
    use callbox_core::{Adapters, Ending, Settings, Value};
    use callbox_testkit::MemoryLog;
    use callbox_testkit::fixed::{FixedClock, FixedHost};

    use super::*;

    static CALLSITE: Callsite = Callsite::new("engine", "step", "()");

    fn recorder(level: Level) -> (Recorder, MemoryLog) {
        let log = MemoryLog::default();
        let adapters = Adapters {
            log: Some(std::sync::Arc::new(log.clone())),
            dumps: None,
            usage: None,
            clock: std::sync::Arc::new(FixedClock::default()),
            host: std::sync::Arc::new(FixedHost::default()),
        };
        (Recorder::new(Settings { level, ..Settings::default() }, adapters), log)
    }

    fn call() -> Option<PendingCall> {
        enabled().then(|| begin(&CALLSITE, &mut LiveArguments::default))?
    }

    // One test: the installed recorder is the process's.
    #[test]
    fn guards_may_go_in_any_order_and_tell_what_was_lost() {
        assert!(call().is_none());
        let ((first, _), (second, log)) = (recorder(Level::Names), recorder(Level::Values));
        let (first_guard, second_guard) = (install(first.clone()), install(second.clone()));
        call().unwrap().complete(|| Value::None.into());
        drop(first_guard);
        call().unwrap().complete(|| Value::None.into());
        assert_eq!((first.health().reached, second.health().count(Ending::Logged)), (0, 2));

        // Nobody says how this one ends.
        drop(call());
        drop(second_guard);
        assert!(call().is_none());
        let last = format!("{:?}", log.events().last().unwrap());
        assert!(last.contains("1 of 3 calls were not recorded whole: 1 abandoned"), "{last}");
    }
}
