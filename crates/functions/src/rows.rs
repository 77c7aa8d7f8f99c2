//! A tensor as the rows of its last dimension.

use callbox_core::{Bound, ExecError, TensorBuf};

use crate::operand;

/// A float tensor `[.., width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// Name of the argument.
    name: &'static str,
    pub(crate) tensor: &'a TensorBuf,
    /// Elements of a row.
    pub(crate) width: usize,
}

impl<'a> Rows<'a> {
    /// Reads a tensor of at least one dimension.
    pub(crate) fn read(arguments: &'a Bound<'_>, name: &'static str) -> Result<Rows<'a>, ExecError> {
        let tensor = operand::floats(arguments, name)?;
        let Some(&width) = tensor.shape().last() else {
            return Err(operand::wrong_shape(name, tensor.shape(), "at least one dimension".to_owned()));
        };
        Ok(Rows { name, tensor: operand::readable(name, tensor)?, width })
    }

    /// Reads a tensor `[width]`: one number for each place in a row.
    pub(crate) fn weights(&self, arguments: &'a Bound<'_>, name: &str) -> Result<&'a TensorBuf, ExecError> {
        let meaning = format!("the last dimension of `{}`", self.name);
        operand::values_of(arguments, name, &[self.width], &meaning)
    }
}
