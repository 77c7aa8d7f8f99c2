//! Results: rounded once, into `out` where the caller gave one.

use callbox_core::{Bound, DType, ExecError, OwnedValue, TensorBuf, Value};

use crate::operand;

/// Rounds row-major f32 values to the argument `out`, if it was given, or else to a new tensor of `dtype`.
///
/// `out` keeps its dtype and strides and must have the result's shape. Returns what the function returns.
pub(crate) fn finish(
    arguments: &mut Bound<'_>,
    out: &str,
    dtype: DType,
    shape: &[usize],
    values: &[f32],
) -> Result<OwnedValue, ExecError> {
    let Some(tensor) = arguments.optional_tensor(out)? else {
        return Ok(Value::Tensor(rounded(dtype, shape, values)?));
    };
    if tensor.shape() != shape {
        return Err(operand::wrong_shape(out, tensor.shape(), format!("{shape:?}")));
    }
    overwrite(arguments, out, values)?;
    Ok(Value::Tensor(arguments.tensor(out)?.clone()))
}

/// Rounds row-major f32 values once into an argument, which keeps its shape, strides and dtype.
pub(crate) fn overwrite(arguments: &mut Bound<'_>, name: &str, values: &[f32]) -> Result<(), ExecError> {
    let written = arguments.tensor_mut(name)?.write_f32(values);
    written.map_err(|source| ExecError::Elements { argument: name.to_owned(), source })
}

/// Rounds row-major f32 values once to a new tensor.
pub(crate) fn rounded(dtype: DType, shape: &[usize], values: &[f32]) -> Result<TensorBuf, ExecError> {
    TensorBuf::from_f32(dtype, shape, values)
        .map_err(|source| ExecError::Elements { argument: "result".to_owned(), source })
}
