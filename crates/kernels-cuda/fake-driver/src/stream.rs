//! Streams as callers see them.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::ffi::c_uint;

use crate::answer::{Answer, CAPTURE_IMPLICIT, CAPTURE_ISOLATION, CAPTURED_EVENT, Code, INVALID_HANDLE};
use crate::capture;
use crate::capture::Status;
use crate::driver::{Driver, Handle, call_in_context, call_to_destroy};
use crate::pointer::Out;
use crate::queue::{self, Operation, Queue, StreamKey};

/// The default stream that waits for the blocking ones.
pub(crate) const LEGACY: Handle = 0;
/// Another handle of it.
const LEGACY_BY_NAME: Handle = 1;
/// The default stream of a thread; all threads have the same one here.
const PER_THREAD: Handle = 2;
const NON_BLOCKING: c_uint = 1;

/// Finds a stream of the current context; one of another context is as unknown as one that is no more.
pub(crate) fn find(driver: &mut Driver, context: Handle, stream: Handle) -> Answer<StreamKey> {
    let stream = if stream == LEGACY_BY_NAME { LEGACY } else { stream };
    let key = StreamKey { context, stream };
    if stream == LEGACY || stream == PER_THREAD {
        driver.streams.entry(key).or_insert_with(|| Queue::new(stream == PER_THREAD));
    }
    driver.streams.contains_key(&key).then_some(key).ok_or(INVALID_HANDLE)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: Out<Handle>, flags: c_uint) -> Code {
    call_in_context("cuStreamCreate", |driver, context| {
        let handle = driver.new_handle();
        let queue = Queue::new(flags & NON_BLOCKING == 0);
        driver.streams.insert(StreamKey { context, stream: handle }, queue);
        stream.write(handle)
    })
}

/// What the stream was told is done first: its owner need not wait for it.
#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Code {
    call_to_destroy("cuStreamDestroy_v2", |driver, context| {
        let key = find(driver, context, stream)?;
        let ran = queue::run_stream(driver, key);
        driver.streams.remove(&key);
        ran
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: Handle) -> Code {
    call_in_context("cuStreamSynchronize", |driver, context| {
        let key = find(driver, context, stream)?;
        capture::forbid_on_stream(driver, key)?;
        queue::run_stream(driver, key)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamIsCapturing(stream: Handle, status: Out<c_uint>) -> Code {
    call_in_context("cuStreamIsCapturing", |driver, context| {
        let key = find(driver, context, stream)?;
        if key.stream == LEGACY {
            let blocking = queue::blocking_streams(driver, context);
            if blocking.iter().any(|other| driver.streams[other].capture.is_some()) {
                return Err(CAPTURE_IMPLICIT);
            }
        }
        status.write(match driver.streams[&key].capture {
            None => Status::None as c_uint,
            Some(capture) if driver.captures.is_invalid(capture) => Status::Invalidated as c_uint,
            Some(_) => Status::Active as c_uint,
        })
    })
}

/// A stream that waits for an event of a capture is captured with it from then on.
#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, _flags: c_uint) -> Code {
    call_in_context("cuStreamWaitEvent", |driver, context| {
        let key = find(driver, context, stream)?;
        queue::check_capture(driver, key)?;
        let event = driver.events.get(&event).copied().ok_or(INVALID_HANDLE)?;
        let own = driver.streams[&key].capture;
        match (event.capture, own, event.mark) {
            // Of a capture that is over it is no mark that anything could reach.
            (Some(theirs), _, _) if !driver.captures.is_going(theirs) => Err(CAPTURED_EVENT),
            (Some(theirs), None, _) => {
                if let Some(queue) = driver.streams.get_mut(&key) {
                    queue.capture = Some(theirs);
                }
                Ok(())
            }
            (Some(theirs), Some(own), _) if theirs == own => Ok(()),
            // Work of another capture, or that was done before this one began.
            (Some(_), Some(own), _) | (None, Some(own), Some(_)) => {
                driver.captures.invalidate(own);
                Err(CAPTURE_ISOLATION)
            }
            (None, None, Some(mark)) => queue::enqueue(driver, key, Operation::Wait(mark)),
            (None, _, None) => Ok(()),
        }
    })
}
