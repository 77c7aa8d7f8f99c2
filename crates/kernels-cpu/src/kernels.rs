//! The kernels of the CPU: each problem goes to the file of its family.

use callbox_core::{Device, ExecError, TensorBuf};
use callbox_functions::{
    AddedAndNormed, Attended, Attention, Fp4Codes, Fp4Product, Fp4Quantize, FusedAddRmsNorm, Gate, Kernel,
    Kernels, LayerNorm, MaskLogits, Merge, Merged, PageAppend, Product, Renormalise, RmsNorm, Rope, Softmax,
    Turned,
};

use crate::{activation, attention, cascade, fp4, gemm, norm, page, rope, sampling};

/// The kernels of the CPU: all there are, without state.
///
/// [`CpuExecutor`](crate::CpuExecutor) runs FlashInfer's functions on them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuKernels;

#[deny(clippy::missing_trait_methods, reason = "the CPU says that it has every kernel")]
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

    fn rope(&mut self, problem: &Rope<'_>) -> Result<Turned, ExecError> {
        rope::rope(problem)
    }

    fn multiply(&mut self, problem: &Product<'_>) -> Result<TensorBuf, ExecError> {
        gemm::multiply(problem)
    }

    fn multiply_fp4(&mut self, problem: &Fp4Product<'_>) -> Result<TensorBuf, ExecError> {
        fp4::multiply(problem)
    }

    fn quantize_fp4(&mut self, problem: &Fp4Quantize<'_>) -> Result<Fp4Codes, ExecError> {
        fp4::quantize(problem)
    }

    fn attend(&mut self, problem: &Attention<'_>) -> Result<Attended, ExecError> {
        attention::attend(problem)
    }

    fn merge(&mut self, problem: &Merge<'_>) -> Result<Merged, ExecError> {
        cascade::merge(problem)
    }

    fn append(&mut self, problem: &PageAppend<'_>) -> Result<TensorBuf, ExecError> {
        page::append(problem)
    }

    fn softmax(&mut self, problem: &Softmax<'_>) -> Result<TensorBuf, ExecError> {
        sampling::softmax(problem)
    }

    fn renormalise(&mut self, problem: &Renormalise<'_>) -> Result<TensorBuf, ExecError> {
        sampling::renormalise(problem)
    }

    fn mask_logits(&mut self, problem: &MaskLogits<'_>) -> Result<TensorBuf, ExecError> {
        sampling::mask_logits(problem)
    }
}
