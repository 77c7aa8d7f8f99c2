//! Events: marks in streams.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::ffi::c_uint;

use crate::answer::{Answer, CAPTURED_EVENT, Code, INVALID_HANDLE, NOT_READY};
use crate::driver::{Driver, Handle, call_in_context, call_to_destroy};
use crate::pointer::Out;
use crate::queue::{self, Mark};
use crate::stream;

/// An event, and where it was recorded last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Event {
    context: Handle,
    pub(crate) mark: Option<Mark>,
    /// The capture that it was recorded in; it is no mark then.
    pub(crate) capture: Option<Handle>,
}

/// Finds an event outside of captures; one that was recorded in a capture ends that.
fn find(driver: &mut Driver, event: Handle) -> Answer<Event> {
    let event = driver.events.get(&event).copied().ok_or(INVALID_HANDLE)?;
    if let Some(capture) = event.capture
        && driver.captures.invalidate(capture)
    {
        return Err(CAPTURED_EVENT);
    }
    Ok(event)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: Out<Handle>, _flags: c_uint) -> Code {
    call_in_context("cuEventCreate", |driver, context| {
        let handle = driver.new_handle();
        driver.events.insert(handle, Event { context, ..Event::default() });
        event.write(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: Handle) -> Code {
    call_to_destroy("cuEventDestroy_v2", |driver, _| {
        driver.events.remove(&event).map(|_| ()).ok_or(INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Code {
    call_in_context("cuEventRecord", |driver, context| {
        let key = stream::find(driver, context, stream)?;
        queue::check_capture(driver, key)?;
        let capture = driver.streams[&key].capture;
        let mark = capture.is_none().then(|| queue::end_of(driver, key));
        let found = driver.events.get_mut(&event).filter(|event| event.context == context);
        let event = found.ok_or(INVALID_HANDLE)?;
        *event = Event { context, mark, capture };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: Handle) -> Code {
    call_in_context("cuEventQuery", |driver, _| {
        let event = find(driver, event)?;
        if event.mark.is_none_or(|mark| queue::is_reached(driver, mark)) { Ok(()) } else { Err(NOT_READY) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: Handle) -> Code {
    call_in_context("cuEventSynchronize", |driver, _| {
        let event = find(driver, event)?;
        event.mark.map_or(Ok(()), |mark| queue::run_to(driver, mark))
    })
}

/// Gives a millisecond for each operation of the stream between the two: there is no clock here.
#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) -> Code {
    call_in_context("cuEventElapsedTime", |driver, _| {
        let marks = [find(driver, start)?.mark, find(driver, end)?.mark];
        let [Some(start), Some(end)] = marks else { return Err(INVALID_HANDLE) };
        if !queue::is_reached(driver, start) || !queue::is_reached(driver, end) {
            return Err(NOT_READY);
        }
        milliseconds.write(end.position.saturating_sub(start.position) as f32)
    })
}
