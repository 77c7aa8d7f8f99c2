//! A tensor as the rows of its last dimension.

use callbox_core::{DType, ExecError, TensorBuf};

use crate::numbers;

/// The elements of a float tensor `[.., width]`, in f32.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) shape: Vec<usize>,
    /// All elements, row-major.
    pub(crate) values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// Copies a problem's rows out.
    pub(crate) fn of(tensor: &TensorBuf, width: usize) -> Rows {
        Rows { shape: tensor.shape().to_vec(), values: numbers::values(tensor), width }
    }

    /// Rounds the rows once to a tensor of their shape.
    pub(crate) fn rounded(&self, dtype: DType) -> Result<TensorBuf, ExecError> {
        numbers::rounded(dtype, &self.shape, &self.values)
    }

    /// Iterates over the rows; there is none where a row has no elements.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Iterates over the rows for writing.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width.max(1))
    }
}
