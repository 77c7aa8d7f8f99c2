//! A tensor as the rows of its last dimension.

use callbox_core::{Bound, DType, ExecError, TensorBuf};

use crate::{numbers, operand};

/// The elements of a float tensor `[.., width]`, in f32.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Name of the argument.
    name: &'static str,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// Elements of a row.
    pub(crate) width: usize,
    /// All elements, row-major.
    pub(crate) values: Vec<f32>,
}

impl Rows {
    /// Reads a tensor of at least one dimension.
    pub(crate) fn read(arguments: &Bound<'_>, name: &'static str) -> Result<Rows, ExecError> {
        let tensor = operand::floats(arguments, name)?;
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let Some(&width) = shape.last() else {
            return Err(operand::wrong_shape(name, &shape, "at least one dimension".to_owned()));
        };
        let values = arguments.f32s(name)?;
        Ok(Rows { name, dtype, shape, width, values })
    }

    /// Copies a problem's rows out.
    pub(crate) fn of(tensor: &TensorBuf, width: usize) -> Rows {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        Rows { name: "", dtype, shape, width, values: numbers::values(tensor) }
    }

    /// Rounds the rows once to a tensor of their shape.
    pub(crate) fn rounded(&self, dtype: DType) -> Result<TensorBuf, ExecError> {
        numbers::rounded(dtype, &self.shape, &self.values)
    }

    /// Reads a tensor `[width]`: one number for each place in a row.
    pub(crate) fn weights(&self, arguments: &Bound<'_>, name: &str) -> Result<Vec<f32>, ExecError> {
        let meaning = format!("the last dimension of `{}`", self.name);
        operand::values_of(arguments, name, &[self.width], &meaning)
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
