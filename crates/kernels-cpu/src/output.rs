//! Results: rounded once, into `out` where the caller gave one.

use callbox_core::{Bound, DType, ExecError, OwnedValue, TensorBuf, Value};

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
    let Some(tensor) = arguments.optional_tensor_mut(out)? else {
        return Ok(Value::Tensor(rounded(dtype, shape, values)?));
    };
    if tensor.shape() != shape {
        return Err(ExecError::ArgumentShape {
            argument: out.to_owned(),
            shape: tensor.shape().to_vec(),
            expected: format!("{shape:?}"),
        });
    }
    tensor.write_f32(values).map_err(|source| ExecError::Elements {
        argument: out.to_owned(),
        source,
    })?;
    Ok(Value::Tensor(tensor.clone()))
}

/// Rounds row-major f32 values once to a new tensor.
pub(crate) fn rounded(dtype: DType, shape: &[usize], values: &[f32]) -> Result<TensorBuf, ExecError> {
    TensorBuf::from_f32(dtype, shape, values).map_err(|source| ExecError::Elements {
        argument: "result".to_owned(),
        source,
    })
}
