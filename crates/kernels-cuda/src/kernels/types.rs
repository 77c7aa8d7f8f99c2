//! Which dtypes and sizes kernels have, and the errors for all others.

use std::fmt;

use callbox_core::{DType, ExecError, TensorBuf};

/// How the kernels for a dtype are called.
pub(crate) type Suffixes = &'static [(DType, &'static str)];

/// The dtypes of kernels that read and write one type.
pub(crate) const FLOATS: Suffixes =
    &[(DType::Float16, "f16"), (DType::BFloat16, "bf16"), (DType::Float32, "f32")];

/// Returns how the kernels for an argument's dtype are called.
pub(crate) fn suffix(argument: &str, dtype: DType, suffixes: Suffixes) -> Result<&'static str, ExecError> {
    known_suffix(dtype, suffixes).ok_or_else(|| no_kernel(argument, dtype))
}

/// As [`suffix`]; `None` where there is no kernel.
pub(crate) fn known_suffix(dtype: DType, suffixes: Suffixes) -> Option<&'static str> {
    suffixes.iter().find(|(known, _)| *known == dtype).map(|(_, suffix)| *suffix)
}

/// The dtypes that a kernel is told when it runs, in the order of `Type` in `types.cuh`.
const TYPES: [DType; 5] =
    [DType::Float32, DType::Float16, DType::BFloat16, DType::Float8E4M3Fn, DType::Float8E5M2];

/// Returns the number of a dtype that a kernel is told when it runs: `Type` in `types.cuh`.
pub(crate) fn type_code(argument: &str, dtype: DType) -> Result<u32, ExecError> {
    let place = TYPES.iter().position(|known| *known == dtype);
    place.map(|place| place as u32).ok_or_else(|| no_kernel(argument, dtype))
}

/// Fails unless an argument has the one dtype that a kernel reads and writes.
pub(crate) fn expect_dtype(argument: &str, dtype: DType, expected: DType) -> Result<(), ExecError> {
    if dtype == expected {
        return Ok(());
    }
    Err(no_kernel(argument, format_args!("{dtype} beside {expected}")))
}

/// Builds the error for what no kernel can do: a dtype, a size, a mode.
pub(crate) fn no_kernel(argument: &str, reason: impl fmt::Display) -> ExecError {
    ExecError::NoKernelFor { argument: argument.to_owned(), reason: reason.to_string() }
}

/// Returns a size as kernels count them.
pub(crate) fn count<N: TryFrom<usize>>(argument: &str, size: usize) -> Result<N, ExecError> {
    size.try_into()
        .map_err(|_| no_kernel(argument, format_args!("a size of {size}, and kernels do not count as far")))
}

/// Returns a size that is at most a number of blocks that a grid can have.
pub(crate) fn blocks(argument: &str, size: usize, most: u32) -> Result<u32, ExecError> {
    let blocks = count(argument, size)?;
    if blocks > most {
        let reason = format!("it would take {blocks} blocks in a direction where CUDA has at most {most}");
        return Err(no_kernel(argument, reason));
    }
    Ok(blocks)
}

/// Blocks of a grid in its second and third dimension.
pub(crate) const MOST_BLOCKS: u32 = 65_535;
/// Blocks of a grid in its first dimension.
pub(crate) const MOST_BLOCKS_X: u32 = i32::MAX as u32;

/// Reads floats as kernels take them that have no other type for them.
pub(crate) fn floats(argument: &str, tensor: &TensorBuf) -> Result<Vec<f32>, ExecError> {
    tensor.to_f32().map_err(|source| ExecError::Elements { argument: argument.to_owned(), source })
}
