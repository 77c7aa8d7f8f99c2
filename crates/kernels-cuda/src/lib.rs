#![doc = include_str!("../README.md")]

mod device;
mod error;
mod tensor;

mod kernels;

mod element;
mod guards;

mod departed;
mod device_memory;
mod storage;

mod guest;
mod owner;
mod probe;
mod staging;

pub use cudarc;

pub use device::{CudaDevice, Options};
pub use element::Element;
pub use error::{CudaError, Missing};
pub use guards::{Slice, SliceMut};
pub use kernels::{CudaExecutor, CudaKernels};
pub use probe::driver_version;
pub use tensor::DeviceTensor;
