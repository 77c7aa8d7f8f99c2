//! The command `callbox`, with the functions that are built into it.

use std::process::ExitCode;

use callbox_cli::Executors;
use callbox_kernels_cpu::CpuExecutor;
use callbox_kernels_cuda::CudaKernels;

fn main() -> ExitCode {
    callbox_cli::run_on(&Executors {
        cpu: &|| Box::new(CpuExecutor),
        cuda: Some(&|index| {
            let kernels = CudaKernels::open(index)?;
            Ok(Box::new(move || Box::new(kernels.clone().into_executor())))
        }),
    })
}
