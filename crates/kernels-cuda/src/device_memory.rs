//! The port: device bytes for the recorder.

use std::sync::Arc;

use callbox_core::{DType, Device, DeviceMemory, Layout, StageError, Stats};
use cudarc::driver::CudaStream;

use crate::error::CudaError;
use crate::guest::{is_capturing, quietly, refuse_capturing};
use crate::kernels;
use crate::storage::Storage;

/// A storage as elements of a dtype: the bytes alone would not say what statistics are of.
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    pub(crate) dtype: DType,
    pub(crate) storage: Storage,
    /// The stream that works with it, where it is not the owner's.
    pub(crate) worker: Option<Arc<CudaStream>>,
}

impl Elements {
    /// Copies bytes out, as they are when both streams have finished. The range lies in the memory.
    pub(crate) fn read_bytes(&self, offset: usize, out: &mut [u8]) -> Result<(), CudaError> {
        self.wait_for_worker()?;
        self.storage.read_bytes(offset, out)
    }

    fn wait_for_worker(&self) -> Result<(), CudaError> {
        let Some(worker) = &self.worker else { return Ok(()) };
        quietly(worker.context(), || {
            refuse_capturing(worker)?;
            worker.synchronize().map_err(CudaError::of)
        })
    }
}

impl DeviceMemory for Elements {
    fn device(&self) -> Device {
        self.storage.device().device()
    }

    fn byte_len(&self) -> usize {
        self.storage.byte_len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
        let (end, len) = (offset.saturating_add(out.len()), self.storage.byte_len());
        if end > len {
            return Err(StageError::OutOfRange { offset, end, len });
        }
        self.read_bytes(offset, out).map_err(|error| StageError::Device(Box::new(error)))
    }

    /// A stream that cannot be asked is not capturing: reading it will say what is wrong.
    fn capturing(&self) -> bool {
        let streams = [Some(self.storage.stream()), self.worker.as_ref()];
        let captures = |stream: &Arc<CudaStream>| quietly(stream.context(), || is_capturing(stream));
        streams.into_iter().flatten().any(|stream| captures(stream).unwrap_or(false))
    }

    /// None where there is no kernel, or something fails: the recorder reads the bytes and computes them itself.
    fn statistics(&self, view: &Layout) -> Option<Stats> {
        self.wait_for_worker().ok()?;
        kernels::statistics(&self.storage, self.dtype, view)
    }

    fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
        Some(Arc::new(self.clone()))
    }
}
