//! Memory that the processor cannot read by itself.

use std::fmt::Debug;
use std::sync::Arc;

use crate::device::Device;
use crate::error::StageError;
use crate::layout::Layout;
use crate::statistics::Stats;

/// Device bytes, readable in pieces.
///
/// ```
/// use std::sync::Arc;
///
/// use callbox_core::{Device, DeviceMemory, Layout, StageError, Stats};
///
/// /// Stands for a device where there is none.
/// #[derive(Clone, Debug)]
/// struct Pretended(Arc<[u8]>);
///
/// impl DeviceMemory for Pretended {
///     fn device(&self) -> Device {
///         Device::Cuda(0)
///     }
///     fn byte_len(&self) -> usize {
///         self.0.len()
///     }
///     fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError> {
///         let (end, len) = (offset.saturating_add(out.len()), self.0.len());
///         let bytes = self.0.get(offset..end).ok_or(StageError::OutOfRange { offset, end, len })?;
///         out.copy_from_slice(bytes);
///         Ok(())
///     }
///     fn capturing(&self) -> bool {
///         false
///     }
///     fn statistics(&self, _: &Layout) -> Option<Stats> {
///         None // the recorder reads the bytes and computes them itself
///     }
///     fn retain(&self) -> Option<Arc<dyn DeviceMemory>> {
///         Some(Arc::new(self.clone()))
///     }
/// }
///
/// let memory = Pretended(Arc::new([1, 2, 3]));
/// let mut last = [0; 2];
/// memory.read(1, &mut last).unwrap();
/// assert_eq!(last, [2, 3]);
/// assert!(memory.read(2, &mut last).is_err());
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait DeviceMemory: Debug + Send + Sync {
    /// Returns the device.
    fn device(&self) -> Device;
    /// Returns the size in bytes.
    fn byte_len(&self) -> usize;
    /// Copies bytes out. `Ok`: `out` holds what the memory held after the owner's stream had finished, which is waited for
    /// also where `out` has no bytes.
    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError>;
    /// Tells whether the owner's stream is recording a graph: then nothing may be read.
    fn capturing(&self) -> bool;
    /// Computes statistics on the device, where it can.
    fn statistics(&self, view: &Layout) -> Option<Stats>;
    /// Keeps the memory alive for a dump that is deferred until a graph has run.
    fn retain(&self) -> Option<Arc<dyn DeviceMemory>>;
}
