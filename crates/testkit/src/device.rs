//! Device memory that is none.

use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::{
    DType, Device, DeviceMemory, Flags, Layout, StageError, Stats, StorageBytes, StorageId, StorageView,
    TensorView,
};

/// A [`DeviceMemory`] without a device, which notes what is read of it.
#[derive(Debug)]
pub struct FakeDeviceMemory {
    byte_len: usize,
    contents: DeviceContents,
    reads: Mutex<Vec<(usize, usize)>>,
}

/// What a reading gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceContents {
    /// Bytes that count up from zero to 250, over and over.
    Counting,
    /// Nothing: the reader's buffer stays as it is. Costs no time, however large the memory.
    Blank,
    /// An error: the device is gone.
    Lost,
}

impl FakeDeviceMemory {
    /// Returns memory of so many bytes.
    pub fn new(byte_len: usize, contents: DeviceContents) -> FakeDeviceMemory {
        FakeDeviceMemory { byte_len, contents, reads: Mutex::default() }
    }

    /// Returns offset and length of each reading so far.
    pub fn reads(&self) -> Vec<(usize, usize)> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Views the memory as a tensor of bytes.
    pub fn view(&self, layout: Layout) -> TensorView<'_> {
        TensorView {
            dtype: DType::UInt8,
            layout,
            storage: StorageView { id: StorageId::new(7), bytes: StorageBytes::Device(self) },
            flags: Flags::default(),
            device: self.device(),
        }
    }
}

impl DeviceMemory for FakeDeviceMemory {
    fn device(&self) -> Device {
        Device::Cuda(1)
    }

    fn byte_len(&self) -> usize {
        self.byte_len
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push((offset, out.len()));
        let (end, len) = (offset.saturating_add(out.len()), self.byte_len);
        if end > len {
            return Err(StageError::OutOfRange { offset, end, len });
        }
        match self.contents {
            DeviceContents::Counting => {
                out.iter_mut().enumerate().for_each(|(place, byte)| *byte = ((offset + place) % 251) as u8);
                Ok(())
            }
            DeviceContents::Blank => Ok(()),
            DeviceContents::Lost => Err(StageError::Device("it fell off the bus".into())),
        }
    }

    fn capturing(&self) -> bool {
        false
    }

    fn statistics(&self, _: &Layout) -> Option<Stats> {
        None
    }

    fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn counting_bytes_are_a_device_s_memory() {
        conformance::device_memory(&|byte_len| {
            Arc::new(FakeDeviceMemory::new(byte_len, DeviceContents::Counting))
        });
    }
}
