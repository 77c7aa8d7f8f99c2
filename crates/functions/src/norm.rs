//! Normalisation over the last dimension, which has `d` elements.
//!
//! Leading dimensions are free. Everything is computed in f32 and rounded once to the dtype of `input`.

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::kernels::{Kernel, Kernels};
use crate::operand;
use crate::output::{self, Target};
use crate::rows::Rows;
use crate::table::Function;

/// `x / sqrt(mean(x^2) + eps) * weight`, row by row (Zhang and Sennrich, "Root Mean Square Layer
/// Normalization", 2019).
#[derive(Debug)]
#[non_exhaustive]
pub struct RmsNorm<'a> {
    /// Floats `[.., width]`.
    pub input: &'a TensorBuf,
    /// Elements of a row.
    pub width: usize,
    /// Floats `[width]`.
    pub weight: &'a TensorBuf,
    /// What the weight is multiplied as.
    pub gain: Gain,
    /// Added to the mean of the squares.
    pub eps: f32,
    /// What the result, of the input's shape, is rounded to.
    pub dtype: DType,
}

/// What a norm multiplies by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// The weight.
    Weight,
    /// `1 + weight`, as the Gemma models store it; the sum is taken in f32.
    OnePlusWeight,
}

/// `sum = input + residual`, and the [`RmsNorm`] of the sum before that is rounded.
#[derive(Debug)]
#[non_exhaustive]
pub struct FusedAddRmsNorm<'a> {
    /// Floats `[.., width]`.
    pub input: &'a TensorBuf,
    /// Floats of the input's shape.
    pub residual: &'a TensorBuf,
    /// Elements of a row.
    pub width: usize,
    /// Floats `[width]`.
    pub weight: &'a TensorBuf,
    /// Added to the mean of the squares.
    pub eps: f32,
}

/// The answer to a [`FusedAddRmsNorm`], both of the input's shape.
#[derive(Clone, Debug)]
pub struct AddedAndNormed {
    /// In the dtype of the residual.
    pub sum: TensorBuf,
    /// In the dtype of the input.
    pub normed: TensorBuf,
}

/// `(x - mean) / sqrt(variance + eps) * gamma + beta`, row by row (Ba, Kiros and Hinton, "Layer
/// Normalization", 2016).
#[derive(Debug)]
#[non_exhaustive]
pub struct LayerNorm<'a> {
    /// Floats `[.., width]`.
    pub input: &'a TensorBuf,
    /// Elements of a row.
    pub width: usize,
    /// Floats `[width]`, which FlashInfer calls `gemma`.
    pub gamma: &'a TensorBuf,
    /// Floats `[width]`.
    pub beta: &'a TensorBuf,
    /// Added to the variance.
    pub eps: f32,
    /// What the result, of the input's shape, is rounded to.
    pub dtype: DType,
}

pub(crate) const ROWS: &[Function] = &[
    Function::new(
        Kernel::RmsNorm,
        writing(&["out"]),
        "rmsnorm",
        "input, weight, eps=1e-6, out=None, enable_pdl=None",
        |kernels, arguments| rmsnorm(kernels, arguments, Gain::Weight),
    ),
    Function::new(
        Kernel::RmsNorm,
        writing(&["out"]),
        "gemma_rmsnorm",
        "input, weight, eps=1e-6, out=None, enable_pdl=None",
        |kernels, arguments| rmsnorm(kernels, arguments, Gain::OnePlusWeight),
    ),
    Function::new(
        Kernel::FusedAddRmsNorm,
        writing(&["input", "residual"]),
        "fused_add_rmsnorm",
        "input, residual, weight, eps=1e-6, enable_pdl=None",
        fused_add_rmsnorm,
    ),
    Function::new(Kernel::LayerNorm, writing(&[]), "layernorm", "input, gemma, beta, eps=1e-6", layernorm),
];

const fn writing(writes: &'static [&'static str]) -> Contract {
    Contract { writes, results: &[ResultRule::Values] }
}

/// [`RmsNorm`]: `input` `[.., d]`, `weight` `[d]`; the result is like `input`.
fn rmsnorm(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
    gain: Gain,
) -> Result<OwnedValue, ExecError> {
    let input = Rows::read(arguments, "input")?;
    let weight = input.weights(arguments, "weight")?;
    let eps = arguments.float("eps")?;
    let target = Target::read(arguments, "out", input.tensor.dtype(), input.tensor.shape())?;
    let dtype = target.dtype();
    let problem = RmsNorm { input: input.tensor, width: input.width, weight, gain, eps, dtype };
    let normed = kernels.rms_norm(&problem)?;
    target.finish(arguments, normed)
}

/// [`FusedAddRmsNorm`]: `residual` becomes the sum and `input` its norm, in place; returns None.
///
/// `input` and `residual` `[.., d]`, `weight` `[d]`.
fn fused_add_rmsnorm(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let input = Rows::read(arguments, "input")?;
    let shape = input.tensor.shape();
    let problem = FusedAddRmsNorm {
        input: input.tensor,
        residual: operand::values_of(arguments, "residual", shape, "the shape of `input`")?,
        width: input.width,
        weight: input.weights(arguments, "weight")?,
        eps: arguments.float("eps")?,
    };
    let AddedAndNormed { sum, normed } = kernels.fused_add_rms_norm(&problem)?;
    output::overwrite(arguments, "residual", sum)?;
    output::overwrite(arguments, "input", normed)?;
    Ok(Value::None)
}

/// [`LayerNorm`]: `input` `[.., d]`, `gemma` (the weight) and `beta` `[d]`; the result is like `input`.
fn layernorm(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let input = Rows::read(arguments, "input")?;
    let problem = LayerNorm {
        input: input.tensor,
        width: input.width,
        gamma: input.weights(arguments, "gemma")?,
        beta: input.weights(arguments, "beta")?,
        eps: arguments.float("eps")?,
        dtype: input.tensor.dtype(),
    };
    let target = Target::new(problem.dtype, input.tensor.shape())?;
    let normed = kernels.layer_norm(&problem)?;
    target.finish(arguments, normed)
}
