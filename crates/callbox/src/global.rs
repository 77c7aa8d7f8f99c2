//! The application's recorder: one for the process, found by annotated functions.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

use callbox_core::{Callsite, Level, LiveArguments, PendingCall, Recorder};

/// The installed recorder's level; 0 without one.
static LEVEL: AtomicU8 = AtomicU8::new(0);
static RECORDER: RwLock<Option<Recorder>> = RwLock::new(None);

/// Keeps a recorder installed. When it is dropped, annotated functions record nothing any more, and the log
/// gets a closing line if a call was lost.
#[must_use = "recording ends when this is dropped: keep it for as long as calls are to be recorded"]
#[derive(Debug)]
pub struct Guard {
    recorder: Recorder,
    previous: Option<Recorder>,
}

impl Guard {
    /// Returns the recorder.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        set(self.previous.take());
        if let Some(losses) = self.recorder.health().losses() {
            self.recorder.tell(&format!("callbox: {losses}"));
        }
    }
}

/// Makes a recorder that of the annotated functions, until the guard is dropped; then the one before it is
/// back.
pub fn install(recorder: Recorder) -> Guard {
    let previous = set(Some(recorder.clone()));
    Guard { recorder, previous }
}

fn set(recorder: Option<Recorder>) -> Option<Recorder> {
    let level = recorder.as_ref().map_or(Level::Off, Recorder::level);
    let mut installed = RECORDER.write().unwrap_or_else(PoisonError::into_inner);
    LEVEL.store(level.number(), Ordering::Relaxed);
    std::mem::replace(&mut installed, recorder)
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
    let recorder = RECORDER.read().unwrap_or_else(PoisonError::into_inner).clone()?;
    Some(recorder.begin(callsite, arguments))
}
