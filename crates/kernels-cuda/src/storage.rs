//! Device memory that tensors share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;
use std::{fmt, thread};

use callbox_core::StorageId;
use cudarc::driver::{CudaSlice, CudaStream};

use crate::device::CudaDevice;
use crate::element::Element;
use crate::error::CudaError;
use crate::guest::{BesideCaptures, is_capturing, quietly, refuse_capturing};
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
    /// Other streams that work with the memory.
    workers: RwLock<Vec<Arc<CudaStream>>>,
}

/// How long the recorder waits for somebody who writes: whoever does may be waiting for the recorder.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

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
        let (owner, workers) = (RwLock::new(kept), RwLock::default());
        Storage(Arc::new(Inner { owner, byte_len, stream, device: device.clone(), workers }))
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

    /// Says that a stream of the same context works with the memory.
    pub(crate) fn use_on(&self, stream: &Arc<CudaStream>) {
        let mut workers = self.0.workers.write().unwrap_or_else(PoisonError::into_inner);
        if stream != self.stream() && !workers.contains(stream) {
            workers.push(stream.clone());
        }
    }

    fn workers(&self) -> Vec<Arc<CudaStream>> {
        self.0.workers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether a stream that owns the memory or works with it is recording a graph. One that cannot be asked is not:
    /// reading will say what is wrong.
    pub(crate) fn is_capturing(&self) -> bool {
        let captures = |stream: &Arc<CudaStream>| quietly(stream.context(), || is_capturing(stream));
        self.workers().iter().chain([self.stream()]).any(|stream| captures(stream).unwrap_or(false))
    }

    /// Waits for the streams that work with the memory, but for the owner's.
    pub(crate) fn wait_for_workers(&self) -> Result<(), CudaError> {
        self.workers().iter().try_for_each(|worker| {
            quietly(worker.context(), || {
                refuse_capturing(worker)?;
                worker.synchronize().map_err(CudaError::from)
            })
        })
    }

    /// As [`Storage::owner`], but does not wait for ever.
    pub(crate) fn owner_soon(&self) -> Result<RwLockReadGuard<'_, Kept>, CudaError> {
        for _ in 0..PATIENCE.div_duration_f32(PAUSE) as usize {
            match self.0.owner.try_read() {
                Ok(kept) => return Ok(kept),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
        Err(CudaError::BeingWritten)
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

    /// Copies bytes out, as they are when all its streams have finished. The range lies in the memory.
    pub(crate) fn read_bytes(&self, offset: usize, out: &mut [u8]) -> Result<(), CudaError> {
        // The lock first: who writes may still tell a worker what to do.
        let kept = self.owner_soon()?;
        let _beside = BesideCaptures::begin();
        self.wait_for_workers()?;
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
