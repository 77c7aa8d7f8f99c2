//! What can go wrong with a device, and what to do about it.

use callbox_core::{ExecError, LayoutError};
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use thiserror::Error;

/// Why something on a CUDA device did not work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CudaError {
    /// This machine cannot run CUDA.
    #[error("CUDA is not available: {0}")]
    Unavailable(Missing),
    /// There are devices, and not this one.
    #[error("there is no cuda:{index}, the machine has {count} device(s): see CUDA_VISIBLE_DEVICES")]
    NoSuchDevice {
        /// The index that was asked for, from 0.
        index: u32,
        /// How many devices the driver shows.
        count: u32,
    },
    /// The device, or pinned host memory, has no room left.
    #[error("out of memory: free tensors, or give fewer bytes for staging")]
    OutOfMemory,
    /// The context failed for good, most often by a kernel that ran before: every later call on it fails as well.
    #[error(
        "the device failed for good with {name} ({code}): find the call at fault, and start the process anew"
    )]
    DeviceLost {
        /// The driver's code, a `CUresult`.
        code: u32,
        /// The code's name.
        name: String,
    },
    /// The owner's stream is recording a graph: nothing may be waited for, allocated or copied.
    #[error("a CUDA graph is being captured: end the capture first")]
    Capturing,
    /// Somebody holds the memory for writing.
    #[error("the memory is locked for writing: let go of the slice before a recorded call, or a flush")]
    BeingWritten,
    /// The memory or the stream belongs to another context than the device was opened on.
    #[error("it belongs to another CUDA context: build the device by `CudaDevice::of_context` on that one")]
    OtherContext,
    /// The layout reaches past the end of the memory.
    #[error("the layout does not fit the memory")]
    Layout(#[from] LayoutError),
    /// The driver refused a call.
    #[error("the driver answered {name} ({code})")]
    Driver {
        /// The driver's code, a `CUresult`.
        code: u32,
        /// The code's name.
        name: String,
    },
}

/// What CUDA needs and this machine has not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The driver's library is not installed, or not on the loader's path.
    #[error("no driver: install NVIDIA's, or let LD_LIBRARY_PATH lead to libcuda.so")]
    Driver,
    /// The driver is there and shows no device.
    #[error("no device: see whether nvidia-smi shows one, and CUDA_VISIBLE_DEVICES")]
    Device,
    /// The driver is older than what is called of it.
    #[error("the driver supports CUDA {}, at least {} is needed: install a newer one", version_of(*.version), version_of(*.needed))]
    NewerDriver {
        /// The version of CUDA that it supports: 1000 times the major number and 10 times the minor one.
        version: i32,
        /// The oldest that will do, counted in the same way.
        needed: i32,
    },
    /// The driver does not initialise, for this reason.
    #[error("the driver does not initialise: {0}")]
    Initialisation(String),
}

/// Spells a version as people do.
pub(crate) fn version_of(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// What an executor says of it.
impl From<CudaError> for ExecError {
    fn from(error: CudaError) -> ExecError {
        ExecError::Device(Box::new(error))
    }
}

/// Says in our words what cudarc says. Its types are in this crate's interface anyway, and an application's `?` takes
/// both.
impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> CudaError {
        let code = error.0 as u32;
        let name = || {
            let name = error.error_name().ok().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|| "an error without a name".to_owned())
        };
        match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => CudaError::OutOfMemory,
            CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            | CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT
            | CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED => CudaError::Capturing,
            CUresult::CUDA_ERROR_INVALID_CONTEXT => CudaError::OtherContext,
            sticky if is_sticky(sticky) => CudaError::DeviceLost { code, name: name() },
            _ => CudaError::Driver { code, name: name() },
        }
    }
}

/// `CUDA_ERROR_CONTAINED` and `CUDA_ERROR_TENSOR_MEMORY_LEAK`, which bindings older than those of CUDA 12.8 do not name:
/// what becomes of codes that cudarc's enum lacks is cudarc's.
const NEWER_STICKY: [u32; 2] = [226, 721];

/// Tells whether a context that gave this answer gives no other any more ("Error handling" in the CUDA programming
/// guide; the codes' own descriptions in the driver API).
fn is_sticky(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED
            | CUresult::CUDA_ERROR_EXTERNAL_DEVICE
    ) || NEWER_STICKY.contains(&(code as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_told_by_its_version() {
        let missing = Missing::NewerDriver { version: 11_040, needed: 12_000 };
        assert_eq!(
            CudaError::Unavailable(missing).to_string(),
            "CUDA is not available: the driver supports CUDA 11.4, at least 12.0 is needed: install a newer one"
        );
    }
}
