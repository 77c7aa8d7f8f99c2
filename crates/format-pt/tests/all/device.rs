//! Device memory that is none.

use std::sync::{Arc, Mutex};

use callbox_core::{
    DType, Device, DeviceMemory, Flags, Layout, StageError, Stats, StorageBytes, StorageId, StorageView,
    TensorView,
};

/// Device memory that notes what is read of it: bytes that count up from zero.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) len: usize,
    pub(crate) reads: Mutex<Vec<(usize, usize)>>,
    pub(crate) fails: bool,
}

impl DeviceMemory for Counting {
    fn device(&self) -> Device {
        Device::Cuda(1)
    }

    fn byte_len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
        if self.fails {
            return Err(StageError::Device("gone".into()));
        }
        self.reads.lock().unwrap().push((offset, out.len()));
        for (place, byte) in out.iter_mut().enumerate() {
            *byte = ((offset + place) % 251) as u8;
        }
        Ok(())
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

pub(crate) fn device_view(memory: &Counting, layout: Layout) -> TensorView<'_> {
    TensorView {
        dtype: DType::UInt8,
        layout,
        storage: StorageView { id: StorageId::new(7), bytes: StorageBytes::Device(memory) },
        flags: Flags::default(),
        device: Device::Cuda(1),
    }
}
