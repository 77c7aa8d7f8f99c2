//! Gated activations: the first half of the last dimension goes through a function and is multiplied by the
//! second (Shazeer, "GLU Variants Improve Transformer", 2020).
//!
//! `input` `[.., 2h]`, result `[.., h]` in the dtype of `input`. Both steps are in f32, with one rounding at
//! the end.

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, TensorBuf};

use crate::kernels::{Kernel, Kernels};
use crate::operand;
use crate::output::Target;
use crate::rows::Rows;
use crate::table::Function;

/// `activation(x[i]) * x[half + i]`, row by row.
#[derive(Debug)]
#[non_exhaustive]
pub struct Gate<'a> {
    /// Floats `[.., 2 * half]`.
    pub input: &'a TensorBuf,
    /// Elements of a row of the result.
    pub half: usize,
    /// What the first half goes through.
    pub activation: Activation,
    /// What the result `[.., half]` is rounded to.
    pub dtype: DType,
}

/// A function that opens or closes a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e^-x)` (Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units", 2017).
    Silu,
    /// `x/2 (1 + erf(x / sqrt 2))` (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016).
    Gelu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the approximation of [`Activation::Gelu`] from the
    /// same paper.
    GeluTanh,
}

const TO_OUT: Contract = Contract { writes: &["out"], results: &[ResultRule::Values] };
const SIGNATURE: &str = "input, out=None, enable_pdl=None";

pub(crate) const ROWS: &[Function] = &[
    Function::new(Kernel::Gate, TO_OUT, "silu_and_mul", SIGNATURE, |kernels, arguments| {
        gate(kernels, arguments, Activation::Silu)
    }),
    Function::new(Kernel::Gate, TO_OUT, "gelu_and_mul", SIGNATURE, |kernels, arguments| {
        gate(kernels, arguments, Activation::Gelu)
    }),
    Function::new(Kernel::Gate, TO_OUT, "gelu_tanh_and_mul", SIGNATURE, |kernels, arguments| {
        gate(kernels, arguments, Activation::GeluTanh)
    }),
];

fn gate(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
    activation: Activation,
) -> Result<OwnedValue, ExecError> {
    let Rows { tensor: input, width, .. } = Rows::read(arguments, "input")?;
    let half = width / 2;
    let mut shape = input.shape().to_vec();
    if width != 2 * half {
        return Err(operand::wrong_shape("input", &shape, "[.., 2h]: an even last dimension".to_owned()));
    }
    shape.splice(shape.len() - 1.., [half]);
    let target = Target::read(arguments, "out", input.dtype(), &shape)?;
    let gated = kernels.gate(&Gate { input, half, activation, dtype: target.dtype() })?;
    target.finish(arguments, gated)
}
