//! Tests on the fake driver, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod kernels;

mod capture;
mod driver;
mod failures;
mod flushes;
mod opening;
mod recording;
mod staging;

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

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

/// Where cargo builds the library of the example `emulated`.
fn emulated_library() -> PathBuf {
    let executable = env::current_exe().unwrap();
    executable.parent().unwrap().with_file_name("examples").join("libemulated.so")
}

/// Runs the test of this name, which calls this, in a process of its own with an environment variable set.
fn in_a_process_of_its_own(name: &str, (variable, value): (&str, &OsStr), test: impl FnOnce()) {
    const MARK: &str = "CALLBOX_TEST_PROCESS";
    #[expect(
        clippy::disallowed_methods,
        reason = "it tells the process in the middle of the test from the test"
    )]
    if env::var_os(MARK).is_some() {
        return test();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", name]).env(MARK, "1").env(variable, value).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
