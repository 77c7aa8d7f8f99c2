//! Devices.

use std::fmt;
use std::sync::{Arc, OnceLock};

use callbox_core::{Device, Layout, TensorBuf};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream};

use crate::departed::Departed;
use crate::element::Element;
use crate::error::CudaError;
use crate::guest::{quietly, refuse_capturing};
use crate::kernels::Modules;
use crate::owner::upload;
use crate::probe::primary_context;
use crate::staging::Staging;
use crate::storage::Storage;
use crate::tensor::DeviceTensor;

/// A CUDA device, and what reading its memory needs. Cloning gives another handle to it.
///
/// ```
/// use callbox_kernels_cuda::{CudaDevice, CudaError};
///
/// match CudaDevice::open(0) {
///     Ok(device) => println!("{device}"),                            // cuda:0
///     Err(CudaError::Unavailable(missing)) => println!("{missing}"), // no driver: install ...
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone)]
pub struct CudaDevice(Arc<Inner>);

struct Inner {
    index: u32,
    departed: Departed,
    staging: Staging,
    modules: Modules,
    /// How it failed for good, once it has.
    lost: OnceLock<CudaError>,
    context: Arc<CudaContext>,
}

/// How a device is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of pinned host memory through which device memory is copied, piece by piece.
    pub staging_bytes: usize,
}

/// 4 MiB for staging: a piece takes longer than what it costs to begin one.
impl Default for Options {
    fn default() -> Options {
        Options { staging_bytes: 4 << 20 }
    }
}

impl CudaDevice {
    /// Opens a device by its index, from 0, on its primary context.
    ///
    /// Fails with [`CudaError::Unavailable`] on a machine without a driver, a device or a driver that is new enough, with
    /// [`CudaError::NoSuchDevice`] beyond the last one, with [`CudaError::OutOfMemory`] if there is no room for staging.
    /// It never panics.
    pub fn open(index: u32) -> Result<CudaDevice, CudaError> {
        CudaDevice::open_with(index, Options::default())
    }

    /// Opens a device as [`CudaDevice::open`] does, with options.
    pub fn open_with(index: u32, options: Options) -> Result<CudaDevice, CudaError> {
        CudaDevice::of_context(&primary_context(index)?, options)
    }

    /// Makes a device of a context that the application has: its memory is that of this context alone.
    pub fn of_context(context: &Arc<CudaContext>, options: Options) -> Result<CudaDevice, CudaError> {
        let staging = Staging::new(context, options.staging_bytes).map_err(CudaError::from)?;
        let index = u32::try_from(context.ordinal()).unwrap_or(u32::MAX);
        Ok(CudaDevice(Arc::new(Inner {
            index,
            departed: Departed::default(),
            staging,
            modules: Modules::default(),
            lost: OnceLock::new(),
            context: context.clone(),
        })))
    }

    /// Returns the device as records name it.
    pub fn device(&self) -> Device {
        Device::Cuda(self.0.index)
    }

    /// Returns the context.
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.0.context
    }

    /// Returns the context's default stream. It cannot record a graph.
    pub fn default_stream(&self) -> Arc<CudaStream> {
        self.0.context.default_stream()
    }

    /// Makes a tensor of a slice, which it owns from then on; the layout counts elements of `T`.
    ///
    /// Fails with [`CudaError::OtherContext`] if the slice is of another context, and with [`CudaError::Layout`] if the
    /// layout reaches past its end.
    pub fn tensor<T: Element>(&self, slice: CudaSlice<T>, layout: Layout) -> Result<DeviceTensor, CudaError> {
        self.check_context(slice.context())?;
        DeviceTensor::new(T::DTYPE, layout, Storage::of_slice(self, slice))
    }

    /// Copies a tensor's whole storage to the device, into memory that belongs to `stream`; dtype and layout stay what
    /// they are. It is there when this returns.
    ///
    /// Fails with [`CudaError::Capturing`] while the stream records a graph, with [`CudaError::OtherContext`] if it is of
    /// another context, with [`CudaError::OutOfMemory`], and as the driver does.
    pub fn upload(&self, stream: &Arc<CudaStream>, tensor: &TensorBuf) -> Result<DeviceTensor, CudaError> {
        self.check_context(stream.context())?;
        let bytes = tensor.storage();
        let owner = quietly(stream.context(), || {
            refuse_capturing(stream)?;
            let owner = upload(stream, tensor.dtype(), bytes).map_err(CudaError::from)?;
            stream.synchronize().map_err(CudaError::from)?;
            Ok::<_, CudaError>(owner)
        })?;
        let storage = Storage::new(self, owner, bytes.len(), stream.clone());
        DeviceTensor::new(tensor.dtype(), tensor.layout().clone(), storage)
    }

    pub(crate) fn staging(&self) -> &Staging {
        &self.0.staging
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.0.modules
    }

    /// Tells how the device failed for good, if a problem that was solved on it has said so.
    pub(crate) fn lost(&self) -> Option<&CudaError> {
        self.0.lost.get()
    }

    /// Keeps that the device failed for good; tells whether that is news.
    pub(crate) fn keep_loss(&self, error: &CudaError) -> bool {
        self.0.lost.set(error.clone()).is_ok()
    }

    pub(crate) fn departed(&self) -> &Departed {
        &self.0.departed
    }

    pub(crate) fn check_context(&self, context: &CudaContext) -> Result<(), CudaError> {
        if *context == *self.0.context { Ok(()) } else { Err(CudaError::OtherContext) }
    }
}

/// Writes the device as records do: `cuda:0`.
impl fmt::Display for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device().fmt(f)
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaDevice({self})")
    }
}
