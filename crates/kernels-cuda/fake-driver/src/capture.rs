//! Capturing what a stream is told, instead of doing it.
//!
//! While a stream is capturing, calls that would have to wait for it, or that the driver counts as unsafe, fail and spoil
//! the capture. This driver is stricter than a real one in two things: it takes no allocation into a graph, and no copy
//! to the host.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_uint;
use std::thread::{self, ThreadId};

use crate::answer::{
    Answer, CAPTURE_INVALIDATED, CAPTURE_UNMATCHED, CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Code,
    INVALID_VALUE,
};
use crate::driver::{Driver, Handle, call_first, call_in_context};
use crate::pointer::{InOut, Out};
use crate::queue::{Operation, StreamKey};
use crate::stream::{self, LEGACY};

/// As `CUstreamCaptureStatus`.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    None = 0,
    Active = 1,
    Invalidated = 2,
}

/// As `CUstreamCaptureMode`. Of a capture: whose unsafe calls it forbids; of a thread: which captures forbid it such.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Global = 0,
    ThreadLocal = 1,
    Relaxed = 2,
}

impl Mode {
    fn of(number: c_uint) -> Answer<Mode> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(INVALID_VALUE),
        }
    }
}

thread_local! {
    static OF_THREAD: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// The captures that were begun and not ended.
#[derive(Default)]
pub(crate) struct Captures(BTreeMap<Handle, Capture>);

struct Capture {
    origin: StreamKey,
    mode: Mode,
    thread: ThreadId,
    operations: Vec<Operation>,
    is_invalid: bool,
}

impl Capture {
    /// Tells whether unsafe calls of this thread are forbidden: by its own captures unless they are relaxed, and by the
    /// global ones of others; less so where the thread has said that it knows what it does.
    fn forbids_unsafe_calls(&self) -> bool {
        let is_own = self.thread == thread::current().id() && self.mode != Mode::Relaxed;
        match OF_THREAD.get() {
            Mode::Global => is_own || self.mode == Mode::Global,
            Mode::ThreadLocal => is_own,
            Mode::Relaxed => false,
        }
    }
}

impl Captures {
    pub(crate) fn push(&mut self, capture: Handle, operation: Operation) -> Answer {
        match self.0.get_mut(&capture) {
            Some(capture) if !capture.is_invalid => {
                capture.operations.push(operation);
                Ok(())
            }
            Some(_) | None => Err(CAPTURE_INVALIDATED),
        }
    }

    /// Spoils a capture; tells whether it is still there.
    pub(crate) fn invalidate(&mut self, capture: Handle) -> bool {
        let found = self.0.get_mut(&capture);
        found.is_some_and(|capture| {
            capture.is_invalid = true;
            true
        })
    }

    /// Tells whether a capture was begun and not ended.
    pub(crate) fn is_going(&self, capture: Handle) -> bool {
        self.0.contains_key(&capture)
    }

    pub(crate) fn is_invalid(&self, capture: Handle) -> bool {
        self.0.get(&capture).is_none_or(|capture| capture.is_invalid)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Refuses what would have to wait for a stream that is capturing.
pub(crate) fn forbid_on_stream(driver: &mut Driver, key: StreamKey) -> Answer {
    let Some(capture) = driver.streams.get(&key).and_then(|queue| queue.capture) else { return Ok(()) };
    driver.captures.invalidate(capture);
    Err(CAPTURE_UNSUPPORTED)
}

/// Refuses what would have to wait for all streams of a context while one of them is capturing.
pub(crate) fn forbid_in_context(driver: &mut Driver, context: Handle) -> Answer {
    let mut answer = Ok(());
    for capture in driver.captures.0.values_mut().filter(|capture| capture.origin.context == context) {
        capture.is_invalid = true;
        answer = Err(CAPTURE_UNSUPPORTED);
    }
    answer
}

/// Refuses what may wait for the whole device while a capture forbids that to this thread.
pub(crate) fn forbid_unsafe_call(driver: &mut Driver) -> Answer {
    let mut answer = Ok(());
    for capture in driver.captures.0.values_mut().filter(|capture| !capture.is_invalid) {
        if capture.forbids_unsafe_calls() {
            capture.is_invalid = true;
            answer = Err(CAPTURE_UNSUPPORTED);
        }
    }
    answer
}

/// Forgets what this thread said of itself.
pub(crate) fn reset_thread() {
    OF_THREAD.set(Mode::Global);
}

/// Sets the mode of the thread, and gives the one that it had.
#[unsafe(no_mangle)]
extern "C" fn cuThreadExchangeStreamCaptureMode(mode: InOut<c_uint>) -> Code {
    call_first("cuThreadExchangeStreamCaptureMode", |_| {
        let new = Mode::of(mode.read()?)?;
        mode.write(OF_THREAD.replace(new) as c_uint)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_uint) -> Code {
    call_in_context("cuStreamBeginCapture_v2", |driver, context| {
        let origin = stream::find(driver, context, stream)?;
        let mode = Mode::of(mode)?;
        if origin.stream == LEGACY {
            return Err(CAPTURE_UNSUPPORTED);
        }
        if driver.streams[&origin].capture.is_some() {
            return Err(INVALID_VALUE);
        }
        let handle = driver.new_handle();
        let thread = thread::current().id();
        let capture = Capture { origin, mode, thread, operations: Vec::new(), is_invalid: false };
        driver.captures.0.insert(handle, capture);
        if let Some(queue) = driver.streams.get_mut(&origin) {
            queue.capture = Some(handle);
        }
        Ok(())
    })
}

/// Gives the graph; a spoiled capture gives none, and is over as well.
#[unsafe(no_mangle)]
extern "C" fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) -> Code {
    call_in_context("cuStreamEndCapture", |driver, context| {
        let key = stream::find(driver, context, stream)?;
        let handle = driver.streams[&key].capture.ok_or(CAPTURE_UNMATCHED)?;
        let begun = driver.captures.0.get(&handle).filter(|capture| capture.origin == key);
        let begun = begun.ok_or(CAPTURE_UNMATCHED)?;
        if begun.mode != Mode::Relaxed && begun.thread != thread::current().id() {
            return Err(CAPTURE_WRONG_THREAD);
        }
        for queue in driver.streams.values_mut().filter(|queue| queue.capture == Some(handle)) {
            queue.capture = None;
        }
        let capture = driver.captures.0.remove(&handle).ok_or(CAPTURE_UNMATCHED)?;
        if capture.is_invalid {
            graph.write(0)?;
            return Err(CAPTURE_INVALIDATED);
        }
        let made = driver.new_handle();
        driver.graphs.insert(made, capture.operations.into());
        graph.write(made)
    })
}
