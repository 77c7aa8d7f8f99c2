//! The port: device bytes for the recorder.

use std::sync::Arc;

use callbox_core::{DType, Device, DeviceMemory, Layout, StageError, Stats};

use crate::error::CudaError;
use crate::kernels;
use crate::storage::Storage;

/// A storage as elements of a dtype: the bytes alone would not say what statistics are of.
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    pub(crate) dtype: DType,
    pub(crate) storage: Storage,
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
        self.storage.read_bytes(offset, out).map_err(|error| match error {
            CudaError::Capturing | CudaError::BeingWritten => StageError::NotNow(Box::new(error)),
            error => StageError::Device(Box::new(error)),
        })
    }

    fn capturing(&self) -> bool {
        self.storage.is_capturing()
    }

    /// None where there is no kernel, or something fails: the recorder reads the bytes and computes them itself.
    fn statistics(&self, view: &Layout) -> Option<Stats> {
        kernels::statistics(&self.storage, self.dtype, view)
    }

    fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
        Some(Arc::new(self.clone()))
    }
}
