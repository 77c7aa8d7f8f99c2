//! The kernels of a CUDA device, behind the port of `callbox-functions`: one module for each file of `kernels/*.cu`.
//!
//! Each problem's tensors are uploaded in their own dtype, as much of their storage as they reach; the kernel is told
//! their strides. A tensor that it cannot read so (its elements are no neighbours, or marked as negative) is copied out
//! first. What a kernel has no type for is refused by the argument's name.

mod activation;
mod attention;
mod batch;
mod fp4;
mod gemm;
mod launch;
mod memory;
mod modules;
mod norm;
mod rope;
mod rows;
mod statistics;
mod types;

use callbox_core::{Device, ExecError, TensorBuf};
use callbox_functions::{
    AddedAndNormed, Attended, Attention, Fp4Codes, Fp4Product, Fp4Quantize, FunctionExecutor,
    FusedAddRmsNorm, Gate, Kernel, Kernels, LayerNorm, Product, RmsNorm, Rope, Turned,
};

use crate::device::CudaDevice;
use crate::error::CudaError;
use crate::guest::{BesideCaptures, quietly};
use crate::probe::expect_version;

use self::memory::Run;

pub(crate) use self::modules::Modules;
pub(crate) use self::statistics::statistics;

/// Runs the functions of FlashInfer on a CUDA device.
pub type CudaExecutor = FunctionExecutor<CudaKernels>;

/// The kernels of a CUDA device; cloning gives another handle to it.
///
/// ```no_run
/// use callbox_kernels_cuda::{CudaExecutor, CudaKernels};
///
/// let executor: CudaExecutor = CudaKernels::open(0)?.into_executor();
/// # Ok::<(), callbox_kernels_cuda::CudaError>(())
/// ```
///
/// They are loaded when they are launched first. A device that failed for good says so to the call that it failed in, as
/// [`ExecError::Device`]; every later one is [`ExecError::DeviceLost`], and is not tried.
#[derive(Clone, Debug)]
pub struct CudaKernels {
    device: CudaDevice,
}

impl CudaKernels {
    /// Opens a device by its index, from 0; fails as [`CudaDevice::open`] does, and where the driver is older than the
    /// compiler of the committed PTX: it could not read that.
    pub fn open(index: u32) -> Result<CudaKernels, CudaError> {
        let device = CudaDevice::open(index)?;
        expect_version(modules::NEEDED_VERSION)?;
        Ok(CudaKernels::new(device))
    }

    /// Takes the kernels of a device that is open.
    pub fn new(device: CudaDevice) -> CudaKernels {
        CudaKernels { device }
    }

    /// Puts the functions over the kernels.
    pub fn into_executor(self) -> CudaExecutor {
        FunctionExecutor::new(self)
    }

    /// Solves a problem on the default stream, and leaves no error of its own in the context.
    fn solve<T>(&self, work: impl FnOnce(&Run<'_>) -> Result<T, ExecError>) -> Result<T, ExecError> {
        if let Some(error) = self.device.lost() {
            return Err(ExecError::DeviceLost(Box::new(error.clone())));
        }
        let run = Run::new(&self.device, self.device.default_stream());
        let answer = quietly(self.device.context(), || {
            let _beside = BesideCaptures::begin();
            work(&run)
        });
        match answer {
            Err(ExecError::Device(cause)) => Err(self.with_loss_kept(cause)),
            other => other,
        }
    }

    /// Keeps that the device is lost. Where that was kept already, another call is to blame.
    fn with_loss_kept(&self, cause: callbox_core::error::Cause) -> ExecError {
        match cause.downcast_ref::<CudaError>() {
            Some(error @ CudaError::DeviceLost { .. }) if !self.device.keep_loss(error) => {
                ExecError::DeviceLost(cause)
            }
            _ => ExecError::Device(cause),
        }
    }
}

impl Kernels for CudaKernels {
    fn device(&self) -> Device {
        self.device.device()
    }

    fn has(&self, kernel: Kernel) -> bool {
        match kernel {
            Kernel::RmsNorm
            | Kernel::FusedAddRmsNorm
            | Kernel::LayerNorm
            | Kernel::Gate
            | Kernel::Rope
            | Kernel::Multiply
            | Kernel::MultiplyFp4
            | Kernel::QuantizeFp4
            | Kernel::Attend => true,
            Kernel::Merge | Kernel::Append | Kernel::Softmax | Kernel::Renormalise | Kernel::MaskLogits => {
                false
            }
        }
    }

    fn rms_norm(&mut self, problem: &RmsNorm<'_>) -> Result<TensorBuf, ExecError> {
        self.solve(|run| norm::rms_norm(run, problem))
    }

    fn fused_add_rms_norm(&mut self, problem: &FusedAddRmsNorm<'_>) -> Result<AddedAndNormed, ExecError> {
        self.solve(|run| norm::fused_add_rms_norm(run, problem))
    }

    fn layer_norm(&mut self, problem: &LayerNorm<'_>) -> Result<TensorBuf, ExecError> {
        self.solve(|run| norm::layer_norm(run, problem))
    }

    fn gate(&mut self, problem: &Gate<'_>) -> Result<TensorBuf, ExecError> {
        self.solve(|run| activation::gate(run, problem))
    }

    fn rope(&mut self, problem: &Rope<'_>) -> Result<Turned, ExecError> {
        self.solve(|run| rope::rope(run, problem))
    }

    fn multiply(&mut self, problem: &Product<'_>) -> Result<TensorBuf, ExecError> {
        self.solve(|run| gemm::multiply(run, problem))
    }

    fn multiply_fp4(&mut self, problem: &Fp4Product<'_>) -> Result<TensorBuf, ExecError> {
        self.solve(|run| fp4::multiply(run, problem))
    }

    fn quantize_fp4(&mut self, problem: &Fp4Quantize<'_>) -> Result<Fp4Codes, ExecError> {
        self.solve(|run| fp4::quantize(run, problem))
    }

    fn attend(&mut self, problem: &Attention<'_>) -> Result<Attended, ExecError> {
        self.solve(|run| attention::attend(run, problem))
    }
}
