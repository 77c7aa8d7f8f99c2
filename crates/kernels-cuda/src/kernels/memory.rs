//! What a problem needs of the device while it is solved.

use std::sync::Arc;

use bytemuck::NoUninit;
use callbox_core::{DType, ExecError, TensorBuf};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::modules::{Function, Module};
use crate::device::CudaDevice;
use crate::error::CudaError;

/// A device and the stream in whose order a problem is solved.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    device: &'a CudaDevice,
    stream: Arc<CudaStream>,
}

/// Bytes on the device.
#[derive(Debug)]
pub(crate) struct Memory(CudaSlice<u8>);

impl Memory {
    /// Returns the address of the first byte, as a parameter.
    pub(crate) fn address(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(device: &'a CudaDevice, stream: Arc<CudaStream>) -> Run<'a> {
        Run { device, stream }
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(crate) fn function(&self, module: Module, name: &str) -> Result<Function, CudaError> {
        self.device.modules().function(self.device.context(), module, name)
    }

    /// Copies bytes to memory of their own. Nothing is an address too.
    pub(crate) fn upload(&self, bytes: &[u8]) -> Result<Memory, CudaError> {
        match bytes {
            [] => self.zeros(1),
            bytes => self.stream.clone_htod(bytes).map(Memory).map_err(CudaError::from),
        }
    }

    /// Copies numbers to memory of their own, as they are here.
    pub(crate) fn upload_numbers<T: NoUninit>(&self, numbers: &[T]) -> Result<Memory, CudaError> {
        self.upload(bytemuck::cast_slice(numbers))
    }

    /// Allocates bytes that are zero: every kernel writes all of its result, and none of the bytes can show what was there
    /// before.
    pub(crate) fn zeros(&self, len: usize) -> Result<Memory, CudaError> {
        self.stream.alloc_zeros(len.max(1)).map(Memory).map_err(CudaError::from)
    }

    /// Allocates the zero elements of a tensor.
    pub(crate) fn zeros_of(&self, dtype: DType, shape: &[usize]) -> Result<Memory, CudaError> {
        self.zeros(byte_len(dtype, shape))
    }

    /// Copies bytes out, when the stream has written them.
    pub(crate) fn download(&self, memory: &Memory, len: usize) -> Result<Vec<u8>, CudaError> {
        let mut bytes = vec![0; len];
        self.device.staging().read(&memory.0.as_view(), 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a row-major tensor out, when the stream has written it.
    pub(crate) fn download_tensor(
        &self,
        memory: &Memory,
        dtype: DType,
        shape: &[usize],
    ) -> Result<TensorBuf, ExecError> {
        Ok(tensor(dtype, shape, self.download(memory, byte_len(dtype, shape))?))
    }
}

fn byte_len(dtype: DType, shape: &[usize]) -> usize {
    shape.iter().product::<usize>() * dtype.item_size()
}

/// Returns a tensor without elements, for which nothing is launched.
pub(crate) fn empty(dtype: DType, shape: &[usize]) -> TensorBuf {
    tensor(dtype, shape, Vec::new())
}

fn tensor(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> TensorBuf {
    TensorBuf::from_elements(dtype, shape, bytes)
        .expect("whoever made the problem looked at its result's shape")
}
