//! Being a guest on the application's thread and in its context: what is found there is left there.
#![expect(
    unsafe_code,
    reason = "a context is made current, and the driver told of this thread, by unsafe calls"
)]

use std::ptr;

use callbox_core::planted;
use cudarc::driver::result::ctx;
use cudarc::driver::sys::{self, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus};
use cudarc::driver::{CudaContext, CudaStream, DriverError};

use crate::error::CudaError;

/// Calls the driver in a context, and leaves no trace of it.
///
/// Two things would be seen otherwise. cudarc makes the context current on this thread, where code that calls the driver
/// by itself may have another one. And it gives errors that some `Drop` parked in the context to the next call, which
/// would be ours: they are put back for the application to find. Ours are looked for at the end.
pub(crate) fn quietly<T, E: From<CudaError>>(
    context: &CudaContext,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let (answer, own) = visit(context, work);
    let value = answer?;
    own.map_err(|error| E::from(CudaError::from(error))).map(|()| value)
}

/// Drops something in its context, whatever thread that happens on; what goes wrong is parked there.
///
/// cudarc frees memory in whatever context is current: on a thread that has none it would stay for ever.
pub(crate) fn let_go<T>(context: &CudaContext, value: T) {
    // Without memory pools it is freed at once, which a capture on another stream would not stand.
    let _beside = BesideCaptures::begin();
    let ((), own) = visit(context, || {
        // Where the context cannot be made current, freeing fails too, and parks why.
        context.record_err(context.bind_to_thread());
        drop(value);
    });
    if own.is_err() {
        context.record_err(own);
    }
}

/// Returns what the work parked in the context besides what it gives.
fn visit<T>(context: &CudaContext, work: impl FnOnce() -> T) -> (T, Result<(), DriverError>) {
    let parked = context.check_err();
    let current = ctx::get_current();
    let answer = work();
    let own = context.check_err();
    if let Ok(current) = current
        && current != Some(context.cu_ctx())
    {
        // SAFETY: it was current just now; null is none.
        let restored = unsafe { ctx::set_current(current.unwrap_or(ptr::null_mut())) };
        context.record_err(restored);
    }
    context.record_err(parked);
    (answer, own)
}

/// Waits for nothing and asks whether a stream is recording a graph.
///
/// A capture that was spoiled and not ended counts. So does the legacy default stream while a stream that it waits for is
/// recording, which the driver answers with an error of its own.
pub(crate) fn is_capturing(stream: &CudaStream) -> Result<bool, CudaError> {
    match stream.capture_status() {
        Ok(status) => Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE),
        Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)) => Ok(true),
        Err(error) => Err(CudaError::from(error)),
    }
}

/// Fails while a stream is recording a graph.
pub(crate) fn refuse_capturing(stream: &CudaStream) -> Result<(), CudaError> {
    if is_capturing(stream)? { Err(CudaError::Capturing) } else { Ok(()) }
}

/// While this is held, captures on other streams neither forbid this thread to load and allocate, nor are spoiled by it.
///
/// The driver takes such calls for unsafe while somebody records a graph in global mode: they might touch what is recorded.
/// Ours touch memory that is ours alone, and no stream that is recording. Dropping it puts the thread's own mode back.
#[must_use = "captures are left alone for as long as this is held"]
pub(crate) struct BesideCaptures {
    /// `None`: the driver refused, and whoever called it next learns why.
    own: Option<CUstreamCaptureMode>,
}

impl BesideCaptures {
    pub(crate) fn begin() -> BesideCaptures {
        if planted::bug("capture_mode_kept") {
            return BesideCaptures { own: None };
        }
        BesideCaptures { own: exchange(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED) }
    }
}

impl Drop for BesideCaptures {
    fn drop(&mut self) {
        self.own.take().and_then(exchange);
    }
}

/// Sets this thread's mode; returns the one that it had.
fn exchange(mut mode: CUstreamCaptureMode) -> Option<CUstreamCaptureMode> {
    // SAFETY: it reads one mode and writes another; every driver since CUDA 10.1 has it.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut mode) }.result().ok().map(|()| mode)
}
