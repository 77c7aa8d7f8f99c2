//! Arguments as the functions need them: of the right kind and shape, or an error that names them.

use std::fmt::Display;

use callbox_core::elements::EXPANSION_LIMIT;
use callbox_core::{Bound, DType, DTypeKind, ExecError, Layout, TensorBuf, Value};

use crate::factors::Factors;

/// A result may have this many times the elements of the inputs.
///
/// It may always have [`EXPANSION_LIMIT`] elements. The product of two thin matrices, and tensors with a size
/// of zero, can ask for a result of any size from a file of a kilobyte.
const GROWTH_LIMIT: usize = 64;

/// Returns a tensor of floats.
pub(crate) fn floats<'a>(arguments: &'a Bound<'_>, name: &str) -> Result<&'a TensorBuf, ExecError> {
    let tensor = arguments.tensor(name)?;
    if tensor.dtype().kind() == DTypeKind::Float {
        return Ok(tensor);
    }
    Err(wrong_dtype(name, "a tensor of floats", tensor.dtype()))
}

/// Returns a tensor of floats that a kernel may copy out.
pub(crate) fn values<'a>(arguments: &'a Bound<'_>, name: &str) -> Result<&'a TensorBuf, ExecError> {
    readable(name, floats(arguments, name)?)
}

/// Returns a tensor of floats that a kernel may copy out, if it has this shape; `meaning` says it in words.
pub(crate) fn values_of<'a>(
    arguments: &'a Bound<'_>,
    name: &str,
    shape: &[usize],
    meaning: &str,
) -> Result<&'a TensorBuf, ExecError> {
    expect_shape(arguments, name, shape, meaning)?;
    values(arguments, name)
}

/// Copies a tensor of integers out, row-major, if it has this shape; `meaning` says it in words.
pub(crate) fn integers_of(
    arguments: &Bound<'_>,
    name: &str,
    shape: &[usize],
    meaning: &str,
) -> Result<Vec<i64>, ExecError> {
    expect_shape(arguments, name, shape, meaning)?;
    arguments.i64s(name)
}

/// Fails if copying a tensor's elements out would need memory out of proportion to the file.
pub(crate) fn readable<'a>(name: &str, tensor: &'a TensorBuf) -> Result<&'a TensorBuf, ExecError> {
    tensor.check_expansion().map_err(|source| ExecError::Elements { argument: name.to_owned(), source })?;
    Ok(tensor)
}

/// Returns a tensor of bytes, or of one-byte codes, that a kernel may copy out.
pub(crate) fn bytes<'a>(name: &str, tensor: &'a TensorBuf) -> Result<&'a TensorBuf, ExecError> {
    if tensor.dtype().item_size() != 1 {
        return Err(wrong_dtype(name, "a tensor of bytes", tensor.dtype()));
    }
    readable(name, tensor)
}

/// Returns the sizes of a tensor of `N` dimensions; `meaning` names them: `[batch, m, k]`.
pub(crate) fn sizes<const N: usize>(
    arguments: &Bound<'_>,
    name: &str,
    meaning: &str,
) -> Result<[usize; N], ExecError> {
    let shape = arguments.tensor(name)?.shape();
    shape.try_into().map_err(|_| wrong_shape(name, shape, meaning.to_owned()))
}

/// Fails unless a tensor has this shape; `meaning` says it in words.
pub(crate) fn expect_shape(
    arguments: &Bound<'_>,
    name: &str,
    shape: &[usize],
    meaning: &str,
) -> Result<(), ExecError> {
    let found = arguments.tensor(name)?.shape();
    if found == shape {
        return Ok(());
    }
    Err(wrong_shape(name, found, format!("{shape:?}, {meaning}")))
}

/// Reads an argument that is one number for all rows, or a tensor with one for each.
pub(crate) fn per_row<'a>(
    arguments: &'a Bound<'_>,
    name: &str,
    rows: usize,
) -> Result<Factors<'a>, ExecError> {
    match arguments.value(name) {
        Value::Tensor(tensor) if tensor.numel() != 1 => {
            values_of(arguments, name, &[rows], "one number for each row").map(Factors::Each)
        }
        _ => arguments.float(name).map(Factors::Same),
    }
}

/// Multiplies the sizes of a result; fails where it is out of proportion to the inputs' elements.
pub(crate) fn result_numel(shape: &[usize], input_numel: usize) -> Result<usize, ExecError> {
    let limit = EXPANSION_LIMIT.max(input_numel.saturating_mul(GROWTH_LIMIT));
    let numel = Layout::contiguous(shape).ok().map(|layout| layout.numel());
    numel.filter(|&numel| numel <= limit).ok_or_else(|| {
        let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
        ExecError::TooLarge(sizes.join(" x "))
    })
}

/// Exchanges the last two dimensions, without moving an element.
///
/// # Panics
///
/// If there are fewer than two.
pub(crate) fn transposed(tensor: &TensorBuf) -> TensorBuf {
    let layout = tensor.layout();
    let (mut shape, mut strides) = (layout.shape().to_vec(), layout.strides().to_vec());
    let last = shape.len() - 1;
    shape.swap(last - 1, last);
    strides.swap(last - 1, last);
    Layout::new(&shape, &strides, layout.offset())
        .and_then(|layout| tensor.with_layout(layout))
        .expect("a transposed tensor reaches the same elements")
}

/// Builds the error for a shape that does not fit.
pub(crate) fn wrong_shape(name: &str, shape: &[usize], expected: String) -> ExecError {
    ExecError::ArgumentShape { argument: name.to_owned(), shape: shape.to_vec(), expected }
}

/// Builds the error for a value that the function does not accept.
pub(crate) fn wrong_value(name: &str, value: impl Display, reason: impl Into<String>) -> ExecError {
    ExecError::ArgumentValue { argument: name.to_owned(), value: value.to_string(), reason: reason.into() }
}

/// Builds the error for a tensor of the wrong element type.
pub(crate) fn wrong_dtype(name: &str, expected: &'static str, found: DType) -> ExecError {
    ExecError::ArgumentType { argument: name.to_owned(), expected, found: format!("tensor of {found}") }
}
