//! Copying device memory to the host, piece by piece, through one buffer.
//!
//! The buffer is host memory that the driver knows, so that the device writes it by itself. It is allocated when the
//! device is opened, and never while tensors are read: an allocation in the middle of somebody's capture would spoil it.
#![expect(unsafe_code, reason = "the device writes the buffer by its address")]

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::planted;
use cudarc::driver::result;
use cudarc::driver::{
    CudaContext, CudaStream, CudaView, DevicePtr, DeviceSlice, DriverError, PinnedHostSlice,
};

use crate::error::CudaError;
use crate::guest::refuse_capturing;

/// The buffer of a device.
#[derive(Debug)]
pub(crate) struct Staging(Mutex<Buffer>);

#[derive(Debug)]
struct Buffer {
    /// Not write-combined, which would be slow to read.
    pinned: PinnedHostSlice<u8>,
    /// The stream that may still write into the buffer: waiting for it failed.
    unfinished: Option<Arc<CudaStream>>,
}

impl Staging {
    /// Allocates a buffer of `len` bytes, at least one.
    pub(crate) fn new(context: &Arc<CudaContext>, len: usize) -> Result<Staging, DriverError> {
        // SAFETY: it gets its first contents below.
        let allocate = || unsafe { context.alloc_pinned_with_flags::<u8>(len.max(1), 0) };
        if planted::bug("pinned_memory_leaked") {
            mem::forget(allocate()?);
        }
        let mut pinned = allocate()?;
        pinned.as_mut_slice()?.fill(0);
        Ok(Staging(Mutex::new(Buffer { pinned, unfinished: None })))
    }

    /// Copies the bytes from `offset` on to `out`, as they are when the owner's stream has finished; waits for it in any
    /// case. The range lies in the memory.
    pub(crate) fn read(
        &self,
        memory: &CudaView<'_, u8>,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), CudaError> {
        let stream = memory.stream();
        if !planted::bug("copied_while_capturing") {
            refuse_capturing(stream)?;
        }
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.settle()?;
        if !planted::bug("copied_while_capturing") {
            stream.synchronize().map_err(CudaError::from)?;
        }
        let len = buffer.pinned.len();
        for (place, piece) in out.chunks_mut(len).enumerate() {
            let start = offset + place * len;
            buffer.read_piece(&memory.slice(start..start + piece.len()), piece).map_err(CudaError::from)?;
        }
        Ok(())
    }
}

impl Buffer {
    /// Waits for a copy that nobody could wait for when it was begun.
    fn settle(&mut self) -> Result<(), CudaError> {
        if let Some(stream) = &self.unfinished {
            refuse_capturing(stream)?;
            stream.synchronize().map_err(CudaError::from)?;
            self.unfinished = None;
        }
        Ok(())
    }

    fn read_piece(&mut self, memory: &CudaView<'_, u8>, out: &mut [u8]) -> Result<(), DriverError> {
        let stream = memory.stream();
        // Lets the stream wait for a writer on another stream, where cudarc keeps track of them. That this is a reader is
        // not noted: it has finished before anybody can write, and an event of ours, recorded outside of a capture that
        // the application begins later, would spoil that.
        let (address, reader) = memory.device_ptr(stream);
        mem::forget(reader);
        self.unfinished = Some(stream.clone());
        let staged = &mut self.pinned.as_mut_slice()?[..out.len()];
        // SAFETY: the view has as many bytes as `out`, and the buffer no fewer. It is not looked at before the stream has
        // finished, and where waiting fails it is written by nobody else until that stream has.
        unsafe { result::memcpy_dtoh_async(staged, address, stream.cu_stream()) }?;
        if !planted::bug("copy_not_waited_for") {
            stream.synchronize()?;
        }
        if planted::bug("event_leaked") {
            mem::forget(stream.record_event(None)?);
        }
        self.unfinished = None;
        out.copy_from_slice(&self.pinned.as_slice()?[..out.len()]);
        Ok(())
    }
}
