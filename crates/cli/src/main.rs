//! The command `callbox`, with the functions that are built into it.

use std::process::ExitCode;

use callbox_kernels_cpu::CpuExecutor;

fn main() -> ExitCode {
    callbox_cli::run(&|| Box::new(CpuExecutor))
}
