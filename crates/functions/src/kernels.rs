//! The port: what a device computes.

use std::fmt::{self, Debug, Display};

use callbox_core::{Device, ExecError, TensorBuf};

use crate::activation::Gate;
use crate::attention::{Attended, Attention};
use crate::cascade::{Merge, Merged};
use crate::fp4::{Fp4Codes, Fp4Product, Fp4Quantize};
use crate::gemm::Product;
use crate::norm::{AddedAndNormed, FusedAddRmsNorm, LayerNorm, RmsNorm};
use crate::page::PageAppend;
use crate::rope::{Rope, Turned};
use crate::sampling::{MaskLogits, Renormalise, Softmax};

/// The kernels of a device: solves the problems that the functions describe.
///
/// One method for each kind of problem, and more of them than other ports have: a kernel that a device does not
/// have costs it no line.
///
/// **What a method may trust.** A problem is made by this crate alone, which looked at it: the tensors have the
/// shapes and the kinds of dtype that its fields name, and copying their elements out takes memory in proportion
/// to the file that they came from. Tensors may have any strides and offset, the negative mark of
/// [`Flags`](callbox_core::tensor::Flags), any dtype of their kind, and sizes of zero.
///
/// **What `Ok` promises.** Each result is a contiguous tensor that fills its storage, of the shape and the dtype
/// that the problem asks for. Floats are read as f32, everything is computed in f32, and each number is rounded
/// once, to nearest with ties to even ([`TensorBuf::from_f32`] does it). A dtype or a size that a kernel does not have is
/// [`ExecError::NoKernelFor`]: nothing was tried, and replay skips the call.
pub trait Kernels: Debug + Send {
    /// Returns the device that the kernels run on.
    fn device(&self) -> Device;

    /// Tells whether there is a kernel; a function without its kernel is none of this device's.
    fn has(&self, kernel: Kernel) -> bool;

    /// Normalises rows by their root mean square.
    fn rms_norm(&mut self, _: &RmsNorm<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::RmsNorm.missing(self.device()))
    }

    /// Adds a residual and normalises the sum.
    fn fused_add_rms_norm(&mut self, _: &FusedAddRmsNorm<'_>) -> Result<AddedAndNormed, ExecError> {
        Err(Kernel::FusedAddRmsNorm.missing(self.device()))
    }

    /// Normalises rows by their mean and variance.
    fn layer_norm(&mut self, _: &LayerNorm<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::LayerNorm.missing(self.device()))
    }

    /// Multiplies the activations of one half of each row by the other half.
    fn gate(&mut self, _: &Gate<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::Gate.missing(self.device()))
    }

    /// Turns heads by their positions.
    fn rope(&mut self, _: &Rope<'_>) -> Result<Turned, ExecError> {
        Err(Kernel::Rope.missing(self.device()))
    }

    /// Multiplies matrices.
    fn multiply(&mut self, _: &Product<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::Multiply.missing(self.device()))
    }

    /// Multiplies matrices of four-bit codes with scales for their blocks.
    fn multiply_fp4(&mut self, _: &Fp4Product<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::MultiplyFp4.missing(self.device()))
    }

    /// Quantises to four-bit codes with scales for their blocks.
    fn quantize_fp4(&mut self, _: &Fp4Quantize<'_>) -> Result<Fp4Codes, ExecError> {
        Err(Kernel::QuantizeFp4.missing(self.device()))
    }

    /// Attends queries to keys and values.
    fn attend(&mut self, _: &Attention<'_>) -> Result<Attended, ExecError> {
        Err(Kernel::Attend.missing(self.device()))
    }

    /// Merges states of attention.
    fn merge(&mut self, _: &Merge<'_>) -> Result<Merged, ExecError> {
        Err(Kernel::Merge.missing(self.device()))
    }

    /// Writes rows into a paged cache; returns its elements, of its shape and dtype.
    fn append(&mut self, _: &PageAppend<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::Append.missing(self.device()))
    }

    /// Makes probabilities of logits.
    fn softmax(&mut self, _: &Softmax<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::Softmax.missing(self.device()))
    }

    /// Divides the likely tokens' probabilities by their sum.
    fn renormalise(&mut self, _: &Renormalise<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::Renormalise.missing(self.device()))
    }

    /// Keeps the likely tokens' logits.
    fn mask_logits(&mut self, _: &MaskLogits<'_>) -> Result<TensorBuf, ExecError> {
        Err(Kernel::MaskLogits.missing(self.device()))
    }
}

/// What a device may have: one for each kind of problem, named as its method of [`Kernels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// [`Kernels::rms_norm`].
    RmsNorm,
    /// [`Kernels::fused_add_rms_norm`].
    FusedAddRmsNorm,
    /// [`Kernels::layer_norm`].
    LayerNorm,
    /// [`Kernels::gate`].
    Gate,
    /// [`Kernels::rope`].
    Rope,
    /// [`Kernels::multiply`].
    Multiply,
    /// [`Kernels::multiply_fp4`].
    MultiplyFp4,
    /// [`Kernels::quantize_fp4`].
    QuantizeFp4,
    /// [`Kernels::attend`].
    Attend,
    /// [`Kernels::merge`].
    Merge,
    /// [`Kernels::append`].
    Append,
    /// [`Kernels::softmax`].
    Softmax,
    /// [`Kernels::renormalise`].
    Renormalise,
    /// [`Kernels::mask_logits`].
    MaskLogits,
}

impl Kernel {
    /// Returns the name of the method.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::RmsNorm => "rms_norm",
            Kernel::FusedAddRmsNorm => "fused_add_rms_norm",
            Kernel::LayerNorm => "layer_norm",
            Kernel::Gate => "gate",
            Kernel::Rope => "rope",
            Kernel::Multiply => "multiply",
            Kernel::MultiplyFp4 => "multiply_fp4",
            Kernel::QuantizeFp4 => "quantize_fp4",
            Kernel::Attend => "attend",
            Kernel::Merge => "merge",
            Kernel::Append => "append",
            Kernel::Softmax => "softmax",
            Kernel::Renormalise => "renormalise",
            Kernel::MaskLogits => "mask_logits",
        }
    }

    fn missing(self, device: Device) -> ExecError {
        ExecError::NoKernel { kernel: self.name(), device }
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
