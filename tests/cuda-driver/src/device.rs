//! A device for tests of what a driver computes: the fake one over emulated kernels, or the machine's own.
#![expect(clippy::disallowed_methods, reason = "whoever runs the tests says what they run on")]

use std::env;
use std::io::{self, Write};

use crate::fake::{Fake, on_fake};

/// Names the library of emulated kernels, for the fake driver.
pub const KERNELS_VARIABLE: &str = "CALLBOX_EMULATED_KERNELS";
/// Asks for the machine's own driver: `1`.
pub const HARDWARE_VARIABLE: &str = "CALLBOX_CUDA_HARDWARE";

/// What a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum Machine {
    /// The fake driver, which ran nothing before.
    Fake(Fake),
    /// The driver that is installed.
    Hardware,
}

/// Runs a test on a device; on hardware only where `is_there` says that there is some.
///
/// # Panics
///
/// Where the test does, and where nobody named the emulated kernels: a test that did not run must not pass.
pub fn on_device(name: &str, is_there: impl FnOnce() -> Result<(), String>, test: impl FnOnce(Machine)) {
    if env::var_os(HARDWARE_VARIABLE).is_none_or(|value| value != "1") {
        assert!(
            env::var_os(KERNELS_VARIABLE).is_some(),
            "{KERNELS_VARIABLE} names no library: run these tests with `cargo xtask cuda`"
        );
        return on_fake(|fake| test(Machine::Fake(fake)));
    }
    match is_there() {
        Ok(()) => test(Machine::Hardware),
        Err(reason) => not_run(name, &reason),
    }
}

/// Says that a test did not run, on stderr itself: what a passing test prints is kept back.
pub fn not_run(name: &str, reason: &str) {
    io::stderr().write_all(format!("not run: {name}: {reason}\n").as_bytes()).ok();
}
