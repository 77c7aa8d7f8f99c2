//! The kernels of the CPU: each problem goes to the file of its family.

use callbox_core::{Device, ExecError, TensorBuf};
use callbox_functions::{AddedAndNormed, FusedAddRmsNorm, Gate, Kernel, Kernels, LayerNorm, RmsNorm};

use crate::{activation, norm};

/// The kernels of the CPU: all there are.
///
/// They have no state; [`CpuExecutor`](crate::CpuExecutor) runs FlashInfer's functions on them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuKernels;

impl Kernels for CpuKernels {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn has(&self, _: Kernel) -> bool {
        true
    }

    fn rms_norm(&mut self, problem: &RmsNorm<'_>) -> Result<TensorBuf, ExecError> {
        norm::rms_norm(problem)
    }

    fn fused_add_rms_norm(&mut self, problem: &FusedAddRmsNorm<'_>) -> Result<AddedAndNormed, ExecError> {
        norm::fused_add_rms_norm(problem)
    }

    fn layer_norm(&mut self, problem: &LayerNorm<'_>) -> Result<TensorBuf, ExecError> {
        norm::layer_norm(problem)
    }

    fn gate(&mut self, problem: &Gate<'_>) -> Result<TensorBuf, ExecError> {
        activation::gate(problem)
    }
}
