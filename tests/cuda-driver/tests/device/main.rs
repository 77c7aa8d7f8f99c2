//! Tests of what the device computes, one module a subject: on the fake driver, whose kernels are emulated, and with
//! `cargo xtask cuda --hardware` on the machine's own.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod attention;
mod call;
mod executor;
mod lost;
mod program;
mod statistics;

// Nothing of it is called by name: cargo is to build its shared library, beside this program.
use callbox_cuda_driver_tests::Machine;
use callbox_fake_driver as _;
use callbox_kernels_cuda::CudaDevice;

/// Runs a test on a device, by its own name.
fn on_device(name: &str, test: impl FnOnce(Machine, &CudaDevice)) {
    let is_there = || CudaDevice::open(0).map(drop).map_err(|error| error.to_string());
    callbox_cuda_driver_tests::on_device(name, is_there, |machine| {
        test(machine, &CudaDevice::open(0).unwrap());
    });
}
