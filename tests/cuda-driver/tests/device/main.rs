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
use callbox_cuda_driver_tests::{Fake, Machine, not_run};
use callbox_fake_driver as _;
use callbox_kernels_cuda::CudaDevice;

/// Runs a test on a device, by its own name.
fn on_device(name: &str, test: impl FnOnce(Machine, &CudaDevice)) {
    let is_there = || CudaDevice::open(0).map(drop).map_err(|error| error.to_string());
    callbox_cuda_driver_tests::on_device(name, is_there, |machine| {
        test(machine, &CudaDevice::open(0).unwrap());
    });
}

/// Runs a test that tells the driver to fail, or asks it what it was told.
fn on_fake_device(name: &str, test: impl FnOnce(Fake, &CudaDevice)) {
    on_device(name, |machine, device| match machine {
        Machine::Fake(fake) => test(fake, device),
        Machine::Hardware => not_run(name, "it needs a driver that fails as it is told"),
    });
}
