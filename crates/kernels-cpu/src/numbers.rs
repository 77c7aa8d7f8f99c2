//! A problem's tensors as f32, and results rounded once.

use callbox_core::{DType, ExecError, TensorBuf};
use callbox_functions::Factors;

/// Copies the floats of a problem out, row-major.
pub(crate) fn values(tensor: &TensorBuf) -> Vec<f32> {
    tensor.to_f32().expect("a problem's floats can be copied out: the functions looked at them")
}

/// Rounds row-major f32 values once to a new tensor.
pub(crate) fn rounded(dtype: DType, shape: &[usize], values: &[f32]) -> Result<TensorBuf, ExecError> {
    TensorBuf::from_f32(dtype, shape, values)
        .map_err(|source| ExecError::Elements { argument: "result".to_owned(), source })
}

/// Factors that were copied out.
#[derive(Clone, Debug)]
pub(crate) enum FactorValues {
    Same(f32),
    Each(Vec<f32>),
}

impl FactorValues {
    pub(crate) fn read(factors: Factors<'_>) -> FactorValues {
        match factors {
            Factors::Same(factor) => FactorValues::Same(factor),
            Factors::Each(tensor) => FactorValues::Each(values(tensor)),
        }
    }

    /// Returns the factor of a row or head.
    pub(crate) fn of(&self, place: usize) -> f32 {
        match self {
            FactorValues::Same(factor) => *factor,
            FactorValues::Each(factors) => factors[place],
        }
    }
}
