//! The Rust side: on a driver of the tests' own, which is built with them, and on the machine's.

use std::path::Path;
use std::process::Command;

use super::{LIBRARY_VARIABLE, Steps};
use crate::cargo::{cargo, run};

pub(super) const PACKAGE: &str = "callbox-cuda-driver-tests";
/// Asks for the machine's own driver.
const HARDWARE_VARIABLE: &str = "CALLBOX_CUDA_HARDWARE";

/// Tries what is asked of the fake driver, and then what comes out with the emulated kernels behind it.
pub(super) fn on_fake(kernels: &Path, steps: &mut Steps) -> Result<(), String> {
    steps.run("4: fake driver", || {
        // No test is chosen: their library of kernels is an example, which cargo builds for all of them alone.
        let command = cargo(&["test", "--quiet", "-p", PACKAGE, "--features", "fake"]);
        run(command, "the tests on the fake driver")
    })?;
    program(steps)?;
    steps.run("4: executor, emulated", || {
        let mut command = tests_on_device();
        command.env(LIBRARY_VARIABLE, kernels);
        run(command, "the tests of the executor")
    })
}

/// Runs the same on the machine's own driver; where there is none, each test says that it did not run.
pub(super) fn on_hardware(steps: &mut Steps) -> Result<(), String> {
    program(steps)?;
    steps.run("6: executor, hardware", || {
        let mut command = tests_on_device();
        command.args(["--", "--test-threads=1", "--nocapture"]).env(HARDWARE_VARIABLE, "1");
        run(command, "the tests of the executor")
    })
}

/// Builds the programs that tests run from end to end.
fn program(steps: &mut Steps) -> Result<(), String> {
    steps.run("build the programs", || {
        let command = cargo(&["build", "--quiet", "-p", "callbox-cli", "-p", "callbox-example-cuda"]);
        run(command, "`cargo build`")
    })
}

/// Prepares the tests on any device, with what they need to be built.
fn tests_on_device() -> Command {
    cargo(&["test", "--quiet", "-p", PACKAGE, "--features", "device", "--test", "device"])
}
