//! The port: device bytes for the recorder.

use std::sync::Arc;

use callbox_core::{Device, DeviceMemory, Layout, StageError, Stats};

use crate::guest::{is_capturing, quietly};
use crate::storage::Storage;

impl DeviceMemory for Storage {
    fn device(&self) -> Device {
        self.device().device()
    }

    fn byte_len(&self) -> usize {
        Storage::byte_len(self)
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
        let (end, len) = (offset.saturating_add(out.len()), Storage::byte_len(self));
        if end > len {
            return Err(StageError::OutOfRange { offset, end, len });
        }
        self.read_bytes(offset, out).map_err(|error| StageError::Device(Box::new(error)))
    }

    /// A stream that cannot be asked is not capturing: reading it will say what is wrong.
    fn capturing(&self) -> bool {
        quietly(self.stream().context(), || is_capturing(self.stream())).unwrap_or(false)
    }

    /// None yet: the recorder reads the bytes and computes them itself.
    fn statistics(&self, _: &Layout) -> Option<Stats> {
        None
    }

    fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
        Some(Arc::new(self.clone()))
    }
}
