//! Tests on the fake driver, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod kernels;

mod capture;
mod driver;
mod failures;
mod opening;
mod recording;
mod staging;

// Nothing of it is called by name: cargo is to build its shared library, beside this program.
use callbox::{DType, TensorBuf};
use callbox_fake_driver as _;
use callbox_kernels_cuda::{CudaDevice, DeviceTensor};

/// A tensor of bytes that count up to 250, over and over.
fn counting(len: usize) -> TensorBuf {
    TensorBuf::from_elements(DType::UInt8, &[len], counting_bytes(0, len)).unwrap()
}

fn counting_bytes(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(|place| (place % 251) as u8).collect()
}

/// A tensor of floats on the device, uploaded in the order of its default stream.
fn floats(device: &CudaDevice, elements: &[f32]) -> DeviceTensor {
    let tensor = TensorBuf::from_f32(DType::Float32, &[elements.len()], elements).unwrap();
    device.upload(&device.default_stream(), &tensor).unwrap()
}
