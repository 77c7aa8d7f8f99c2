//! NVIDIA's compiler for kernels, as a package of Python's: it needs neither a GPU nor the rest of CUDA.

use std::path::PathBuf;
use std::process::Command;

use super::compiler::TARGET;
use super::{LIBRARY_VARIABLE, PACKAGE};
use crate::cargo::{cargo, program, root, run};

/// Its own licence lets it be installed, not committed: it stays in the folder of what is built.
const REQUIREMENT: &str = "nvidia-cuda-nvrtc-cu12==12.8.93";
const LIBRARY: &str = "nvidia/cuda_nvrtc/lib/libnvrtc.so.12";

/// Returns the compiler's library, which is installed where it is missing.
pub(super) fn library() -> Result<PathBuf, String> {
    let place = root().join(TARGET).join("nvrtc-12.8.93");
    let library = place.join(LIBRARY);
    if library.is_file() {
        return Ok(library);
    }
    println!("installing {REQUIREMENT} into {} (89 MB)", place.display());
    let mut command = program("python3");
    command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"]);
    command.arg(&place).arg(REQUIREMENT);
    run(command, "`python3 -m pip install`, which gets NVIDIA's compiler,")?;
    match library.is_file() {
        true => Ok(library),
        false => Err(format!("{REQUIREMENT} has no {LIBRARY}")),
    }
}

/// Prepares the tests of the PTX; `update` has the committed files written first.
pub(super) fn tests(nvrtc: &PathBuf, emulated: &PathBuf, update: bool) -> Command {
    let mut command = cargo(&["test", "--quiet", "-p", PACKAGE, "--test", "nvrtc"]);
    command.env("CALLBOX_NVRTC", nvrtc).env(LIBRARY_VARIABLE, emulated);
    if update {
        command.env("CALLBOX_UPDATE_PTX", "1");
        // What the other tests read is written by one.
        command.args(["--", "--test-threads=1"]);
    }
    command
}
