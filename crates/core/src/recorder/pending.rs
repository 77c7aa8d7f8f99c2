//! After the call: results, outputs, how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::begin::tell_remarks;
use super::inside::Inside;
use super::{Inner, guarded, panic_text, panic_type};
use crate::describe::Described;
use crate::dump::{Dump, Ended, InputsSaved};
use crate::error::{SinkError, StageError, chain};
use crate::event::Event;
use crate::health::{Ending, FaultKind};
use crate::live::LiveResult;
use crate::name::FunctionName;
use crate::ports::DeviceMemory;
use crate::record::{ExecutionStatus, RecordedError};

/// A call that runs, or is about to.
///
/// One that is dropped leaves its dump as a crash would, and counts as abandoned; dropped while its thread
/// panics, it is recorded as failed.
#[must_use = "complete the call with its result, or it counts as abandoned"]
#[derive(Debug)]
pub struct PendingCall(Option<Box<Work>>);

/// What is left to do for a call.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) inner: Arc<Inner>,
    pub(super) function: FunctionName,
    /// The dump, or how the call ends without one.
    pub(super) dump: Result<Dump<InputsSaved>, Ending>,
    /// The call's first lines are in the log.
    pub(super) logged: bool,
    /// The device memory that the call works on, one of each storage.
    pub(super) devices: Vec<Arc<dyn DeviceMemory>>,
}

impl PendingCall {
    /// A call for which nothing is left to do.
    pub(super) fn ended() -> PendingCall {
        PendingCall(None)
    }

    pub(super) fn of(work: Work) -> PendingCall {
        PendingCall(Some(Box::new(work)))
    }

    /// Runs the call itself; a panic is recorded and goes on.
    pub fn run<R>(self, body: impl FnOnce() -> R) -> (R, PendingCall) {
        if self.0.is_none() {
            return (body(), self);
        }
        // The closure's state is not seen again: the panic goes on as if nobody had caught it.
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(result) => (result, self),
            Err(panic) => {
                self.fail(|| RecordedError {
                    kind: "panic".to_owned(),
                    type_name: panic_type(&*panic).to_owned(),
                    text: panic_text(&*panic),
                });
                resume_unwind(panic)
            }
        }
    }

    /// Records that the call returned. `result` is asked for where something is recorded.
    pub fn complete<'v>(mut self, result: impl FnOnce() -> LiveResult<'v>) {
        if let Some(work) = self.0.take() {
            let mut result = Some(result);
            work.complete(&mut || result.take().map(|result| result()));
        }
    }

    /// Records how the call ended: with a result, or with an error of its own. `outcome` is asked for where
    /// something is recorded.
    pub fn end<'v>(mut self, outcome: impl FnOnce() -> Result<LiveResult<'v>, RecordedError>) {
        if let Some(work) = self.0.take() {
            let mut outcome = Some(outcome);
            work.end_as(&mut || outcome.take().map(|outcome| outcome()));
        }
    }

    /// Records that the call returned an error or panicked.
    pub fn fail(mut self, error: impl FnOnce() -> RecordedError) {
        if let Some(work) = self.0.take() {
            let mut error = Some(error);
            work.fail(&mut || error.take().map(|error| error()));
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let Some(work) = self.0.take() else { return };
        if std::thread::panicking() {
            work.fail(&mut || {
                let (kind, type_name) = ("panic".to_owned(), String::new());
                Some(RecordedError { kind, type_name, text: "the thread panicked".to_owned() })
            });
        } else {
            work.inner.end(Ending::Abandoned);
        }
    }
}

impl Work {
    #[cold]
    #[inline(never)]
    fn complete<'v>(self, result: &mut dyn FnMut() -> Option<LiveResult<'v>>) {
        let _inside = Inside::enter();
        self.completed(guarded(|| result().ok_or_else(|| "the result was taken already".to_owned())));
    }

    #[cold]
    #[inline(never)]
    fn end_as<'v>(self, outcome: &mut dyn FnMut() -> Option<Result<LiveResult<'v>, RecordedError>>) {
        let _inside = Inside::enter();
        match guarded(|| outcome().ok_or_else(|| "the result was taken already".to_owned())) {
            Ok(Ok(result)) => self.completed(Ok(result)),
            Ok(Err(error)) => self.failed(Ok(error)),
            Err(text) => self.completed(Err(text)),
        }
    }

    /// Takes the result, or why it could not be described.
    fn completed(self, described: Result<LiveResult<'_>, String>) {
        let inner = self.inner.clone();
        match described {
            Ok(result) => {
                let statistics = inner.takes_statistics();
                let logged = inner.emit(|| Event::CallReturned { result: &result, statistics });
                self.end(logged, |dump, devices| dump_outputs(&inner, dump, devices, &result));
            }
            Err(text) => {
                inner.fault(FaultKind::Values, &self.function, &text);
                self.end(false, |dump, _| {
                    dump.skip_outputs(&format!("the result could not be described: {text}"))
                });
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(self, error: &mut dyn FnMut() -> Option<RecordedError>) {
        let _inside = Inside::enter();
        self.failed(guarded(|| error().ok_or_else(|| "the error was taken already".to_owned())));
    }

    /// Takes the error, or why it could not be described.
    fn failed(self, described: Result<RecordedError, String>) {
        let inner = self.inner.clone();
        let error = described.unwrap_or_else(|text| {
            inner.fault(FaultKind::Values, &self.function, &text);
            let (kind, type_name) = ("error".to_owned(), String::new());
            RecordedError { kind, type_name, text: format!("its text could not be told: {text}") }
        });
        let logged = inner.emit(|| Event::CallFailed { error: &error });
        self.end(logged, |dump, _| dump.fail(error));
    }

    /// Ends the dump, where there is one, and counts the call.
    fn end(
        self,
        logged: bool,
        end_dump: impl FnOnce(Dump<InputsSaved>, &[Arc<dyn DeviceMemory>]) -> Result<Dump<Ended>, SinkError>,
    ) {
        let Work { inner, function, dump, logged: began, devices } = self;
        let ending = match dump {
            Ok(dump) => {
                let ended = guarded(|| {
                    // After a fork the child must not end what its parent began: there would be two endings.
                    if dump.record().process_id != inner.adapters.host.process().id {
                        return Ok(Ending::Abandoned);
                    }
                    let mut dump = match end_dump(dump, &devices) {
                        Ok(dump) => dump,
                        Err(error) => {
                            outputs_fault(&inner, &function, &error);
                            return Ok(Ending::Unfinished);
                        }
                    };
                    tell_remarks(&inner, dump.take_remarks());
                    let ending = ending_of(&inner, &function, &mut dump);
                    if let Some(captured) = dump.into_captured() {
                        inner.ledger().graphs.keep(captured);
                    }
                    Ok(ending)
                });
                ended.unwrap_or_else(|text| {
                    inner.fault(FaultKind::Outputs, &function, &text);
                    Ending::Unfinished
                })
            }
            Err(Ending::Logged) if !(began && logged) => Ending::NotRecorded,
            Err(ending) => ending,
        };
        inner.end(ending);
    }
}

fn dump_outputs(
    inner: &Inner,
    dump: Dump<InputsSaved>,
    devices: &[Arc<dyn DeviceMemory>],
    result: &LiveResult<'_>,
) -> Result<Dump<Ended>, SinkError> {
    // What the call left on its stream may still fail: `completed` is written only after it has finished.
    let readable = devices.iter().filter(|device| !device.capturing());
    let (later, faults): (Vec<_>, Vec<_>) = readable
        .filter_map(|device| device.read(0, &mut []).err())
        .partition(|error| matches!(error, StageError::NotNow(_)));
    if let Some(error) = faults.first() {
        return dump.fail(RecordedError {
            kind: "error".to_owned(),
            type_name: "StageError".to_owned(),
            text: chain(error),
        });
    }
    // Of a captured call nothing is read before a flush.
    if let Some(error) = later.first().filter(|_| !dump.record().graph_capture) {
        return dump.skip_outputs(&chain(error));
    }
    let outputs = Described::result(result);
    let written = Described::written(result, dump.arguments());
    let dump = dump.complete(&outputs, &written)?;
    let is_deferred = dump.record().status == ExecutionStatus::GraphCapturePendingFlush;
    if is_deferred || dump.record().status == ExecutionStatus::Completed {
        let bytes = outputs.element_bytes();
        let total_bytes = dump.record().tensor_info.input_bytes.saturating_add(bytes);
        let location = dump.location();
        inner.emit(|| Event::OutputsDumped { location, bytes, total_bytes, is_deferred });
    }
    Ok(dump)
}

/// Counts that what comes after a call could not be written, and warns.
fn outputs_fault(inner: &Inner, function: &FunctionName, error: &SinkError) {
    if error.is_of_the_sink() {
        let then = inner.ledger().gate.failed(inner.adapters.clock.now());
        inner.sink_fault(FaultKind::Outputs, function, error, then);
    } else {
        inner.fault(FaultKind::Outputs, function, &chain(error));
    }
}

fn ending_of(inner: &Inner, function: &FunctionName, dump: &mut Dump<Ended>) -> Ending {
    if let Some(error) = dump.take_outputs_fault() {
        outputs_fault(inner, function, &error);
        return Ending::OutputsSkipped;
    }
    match dump.record().status {
        ExecutionStatus::Completed => Ending::Recorded,
        ExecutionStatus::Failed => Ending::Failed,
        ExecutionStatus::OutputsSkipped => {
            let reason = dump.record().reason.as_deref().unwrap_or_default();
            inner.warn_once(
                "core: outputs",
                &format!(
                    "outputs of {} were not dumped: {reason}; further ones are counted, not told",
                    dump.location()
                ),
            );
            Ending::OutputsSkipped
        }
        ExecutionStatus::GraphCapturePendingFlush => Ending::Captured,
        ExecutionStatus::InputsSaved | ExecutionStatus::Other(_) => Ending::Unfinished,
    }
}
