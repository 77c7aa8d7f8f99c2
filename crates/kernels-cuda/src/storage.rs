//! Device memory that tensors share.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use callbox_core::StorageId;
use cudarc::driver::{CudaSlice, CudaStream};

use crate::device::CudaDevice;
use crate::element::Element;
use crate::error::CudaError;
use crate::guest::quietly;
use crate::owner::{Kept, Owner};

/// A handle to device memory, whoever owns it. Cloning gives another one.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Inner>);

struct Inner {
    /// Behind a lock and not in the `Arc` alone: while a call runs, the recorder keeps its tensors' memory, and who writes
    /// it must not have to be the only holder.
    owner: RwLock<Kept>,
    byte_len: usize,
    /// The stream that the memory was allocated on, and in whose order it is written and freed.
    stream: Arc<CudaStream>,
    device: CudaDevice,
}

impl Storage {
    /// Takes a slice over.
    pub(crate) fn of_slice<T: Element>(device: &CudaDevice, slice: CudaSlice<T>) -> Storage {
        let (byte_len, stream) = (slice.num_bytes(), slice.stream().clone());
        Storage::new(device, Box::new(slice), byte_len, stream)
    }

    pub(crate) fn new(
        device: &CudaDevice,
        owner: Box<dyn Owner>,
        byte_len: usize,
        stream: Arc<CudaStream>,
    ) -> Storage {
        let kept = Kept { owner: Some(owner), device: device.clone() };
        Storage(Arc::new(Inner { owner: RwLock::new(kept), byte_len, stream, device: device.clone() }))
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.0.byte_len
    }

    pub(crate) fn device(&self) -> &CudaDevice {
        &self.0.device
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.0.stream
    }

    /// Tells this storage from others: nothing else is where its owner is kept.
    pub(crate) fn id(&self) -> StorageId {
        StorageId::new(Arc::as_ptr(&self.0).addr())
    }

    pub(crate) fn owner(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.owner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn owner_mut(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.owner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies bytes out, as they are when the stream has finished. The range lies in the memory.
    pub(crate) fn read_bytes(&self, offset: usize, out: &mut [u8]) -> Result<(), CudaError> {
        let kept = self.owner();
        let staging = self.device().staging();
        quietly(self.stream().context(), || staging.read(&kept.owner().bytes(), offset, out))
    }
}

/// Shows where the memory is and how much, not what it holds.
impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes on {}", self.byte_len(), self.device())
    }
}
