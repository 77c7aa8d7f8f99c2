//! Copies and fills.
//!
//! A copy to or from the device is done when its stream gets to it. Of pageable host memory that is a source the bytes
//! are taken at once, as the driver does; of pinned memory they are what they are by then.
#![expect(
    unsafe_code,
    reason = "memory is copied by address, and functions are looked up by their plain names"
)]

use std::ptr::{with_exposed_provenance as at, with_exposed_provenance_mut as at_mut};
use std::slice;
use std::sync::Arc;

use crate::answer::{Answer, Code, INVALID_VALUE};
use crate::driver::{Driver, Handle, call_in_context};
use crate::memory::Memory;
use crate::queue::{self, Operation};
use crate::stream::LEGACY;
use crate::{capture, stream};

/// A copy or a fill.
#[derive(Clone, Debug)]
pub(crate) enum Transfer {
    ToHost { target: usize, source: usize, len: usize },
    FromBytes { target: usize, bytes: Arc<[u8]> },
    FromPinned { target: usize, source: usize, len: usize },
    OnDevice { target: usize, source: usize, len: usize },
    Fill { target: usize, value: u8, len: usize },
}

impl Transfer {
    fn from_host(memory: &Memory, target: usize, source: usize, len: usize) -> Answer<Transfer> {
        if source == 0 {
            return Err(INVALID_VALUE);
        }
        if memory.is_pinned(source) {
            return Ok(Transfer::FromPinned { target, source, len });
        }
        // SAFETY: the caller gives `len` bytes to copy from.
        let bytes = unsafe { slice::from_raw_parts(at::<u8>(source), len) };
        Ok(Transfer::FromBytes { target, bytes: bytes.into() })
    }

    /// Asks of each place on the device whether it is one, with the bytes from there on.
    fn check(&self, is_place: impl Fn(usize, usize) -> Answer) -> Answer {
        match *self {
            Transfer::ToHost { target: 0, .. } => Err(INVALID_VALUE),
            Transfer::ToHost { source, len, .. } => is_place(source, len),
            Transfer::FromBytes { target, ref bytes } => is_place(target, bytes.len()),
            Transfer::FromPinned { target, len, .. } | Transfer::Fill { target, len, .. } => {
                is_place(target, len)
            }
            Transfer::OnDevice { target, source, len } => {
                is_place(source, len).and_then(|()| is_place(target, len))
            }
        }
    }

    pub(crate) fn run(&self, memory: &Memory) -> Answer {
        self.check(|start, len| memory.check_there(start, len))?;
        // SAFETY: places on the device were checked just now; places on the host are the caller's, who keeps them until
        // the stream has got here. They do not overlap, other than two on the device may.
        unsafe {
            match *self {
                Transfer::ToHost { target, source, len }
                | Transfer::FromPinned { target, source, len }
                | Transfer::OnDevice { target, source, len } => at::<u8>(source).copy_to(at_mut(target), len),
                Transfer::FromBytes { target, ref bytes } => {
                    bytes.as_ptr().copy_to(at_mut(target), bytes.len())
                }
                Transfer::Fill { target, value, len } => at_mut::<u8>(target).write_bytes(value, len),
            }
        }
        Ok(())
    }
}

fn enqueue(driver: &mut Driver, context: Handle, stream: Handle, transfer: Transfer) -> Answer {
    let key = stream::find(driver, context, stream)?;
    queue::check_capture(driver, key)?;
    if matches!(transfer, Transfer::ToHost { .. }) {
        capture::forbid_on_stream(driver, key)?;
    }
    transfer.check(|start, len| driver.memory.check_device(start, len))?;
    queue::enqueue(driver, key, Operation::Transfer(transfer))
}

/// Does a copy now, behind all that the legacy default stream was told.
fn blocking(driver: &mut Driver, context: Handle, transfer: Transfer) -> Answer {
    capture::forbid_unsafe_call(driver)?;
    enqueue(driver, context, LEGACY, transfer)?;
    let key = stream::find(driver, context, LEGACY)?;
    queue::run_stream(driver, key)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(target: usize, source: usize, len: usize, stream: Handle) -> Code {
    call_in_context("cuMemcpyHtoDAsync_v2", |driver, context| {
        let transfer = Transfer::from_host(&driver.memory, target, source, len)?;
        enqueue(driver, context, stream, transfer)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(target: usize, source: usize, len: usize, stream: Handle) -> Code {
    call_in_context("cuMemcpyDtoHAsync_v2", |driver, context| {
        enqueue(driver, context, stream, Transfer::ToHost { target, source, len })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(target: usize, source: usize, len: usize, stream: Handle) -> Code {
    call_in_context("cuMemcpyDtoDAsync_v2", |driver, context| {
        enqueue(driver, context, stream, Transfer::OnDevice { target, source, len })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoD_v2(target: usize, source: usize, len: usize) -> Code {
    call_in_context("cuMemcpyHtoD_v2", |driver, context| {
        let transfer = Transfer::from_host(&driver.memory, target, source, len)?;
        blocking(driver, context, transfer)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoH_v2(target: usize, source: usize, len: usize) -> Code {
    call_in_context("cuMemcpyDtoH_v2", |driver, context| {
        blocking(driver, context, Transfer::ToHost { target, source, len })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(target: usize, value: u8, len: usize, stream: Handle) -> Code {
    call_in_context("cuMemsetD8Async", |driver, context| {
        enqueue(driver, context, stream, Transfer::Fill { target, value, len })
    })
}
