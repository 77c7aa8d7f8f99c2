//! Device memory that is none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// A [`DeviceMemory`] without a device, whose stream records a graph when it is told to. Clones are the same memory.
#[derive(Clone, Debug)]
pub struct GraphMemory(Arc<Graph>);

#[derive(Debug)]
struct Graph {
    bytes: Mutex<Vec<u8>>,
    is_capturing: AtomicBool,
}

impl GraphMemory {
    /// Returns memory with these bytes, whose stream records nothing.
    pub fn new(bytes: &[u8]) -> GraphMemory {
        let (bytes, is_capturing) = (Mutex::new(bytes.to_vec()), AtomicBool::new(false));
        GraphMemory(Arc::new(Graph { bytes, is_capturing }))
    }

    /// Lets the stream record a graph from now on, or no more.
    pub fn set_capturing(&self, is_capturing: bool) {
        self.0.is_capturing.store(is_capturing, Ordering::Relaxed);
    }

    /// Puts other bytes there, as a graph that runs does; as many as there were.
    pub fn write(&self, bytes: &[u8]) {
        self.bytes().copy_from_slice(bytes);
    }

    /// Returns how many hold the memory.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Views the memory as a tensor.
    pub fn view(&self, dtype: DType, shape: &[usize]) -> TensorView<'_> {
        TensorView {
            dtype,
            layout: Layout::contiguous(shape).expect("a small layout"),
            storage: StorageView {
                id: StorageId::new(Arc::as_ptr(&self.0).addr()),
                bytes: StorageBytes::Device(self),
            },
            flags: Flags::default(),
            device: self.device(),
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reading while a graph is recorded is an error, as on a device.
impl DeviceMemory for GraphMemory {
    fn device(&self) -> Device {
        Device::Cuda(0)
    }

    fn byte_len(&self) -> usize {
        self.bytes().len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
        if self.capturing() {
            return Err(StageError::Device("a graph is being captured".into()));
        }
        let bytes = self.bytes();
        let (end, len) = (offset.saturating_add(out.len()), bytes.len());
        let found = bytes.get(offset..end).ok_or(StageError::OutOfRange { offset, end, len })?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn capturing(&self) -> bool {
        self.0.is_capturing.load(Ordering::Relaxed)
    }

    fn statistics(&self, _: &Layout) -> Option<Stats> {
        None
    }

    fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
        Some(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn memory_of_graphs_is_a_device_s_memory() {
        conformance::device_memory(&|byte_len| {
            let bytes: Vec<_> = (0..byte_len).map(|place| (place % 251) as u8).collect();
            Arc::new(GraphMemory::new(&bytes))
        });
    }

    #[test]
    fn counting_bytes_are_a_device_s_memory() {
        conformance::device_memory(&|byte_len| {
            Arc::new(FakeDeviceMemory::new(byte_len, DeviceContents::Counting))
        });
    }
}
