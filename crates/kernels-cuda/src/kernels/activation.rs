//! `activation.cu`: a block for each row.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{Activation, Gate};

use super::launch::Launch;
use super::memory::{Run, empty};
use super::modules::Module;
use super::rows::Rows;
use super::types::{FLOATS, MOST_BLOCKS_X, blocks, count, expect_dtype, suffix};

const THREADS: u32 = 128;

/// Solves [`Gate`].
pub(super) fn gate(run: &Run<'_>, problem: &Gate<'_>) -> Result<TensorBuf, ExecError> {
    let (input, dtype) = (problem.input, problem.input.dtype());
    let function = match problem.activation {
        Activation::Silu => "silu_and_mul",
        Activation::Gelu => "gelu_and_mul",
        Activation::GeluTanh => "gelu_tanh_and_mul",
    };
    let name = format!("{function}_{}", suffix("input", dtype, FLOATS)?);
    expect_dtype("out", problem.dtype, dtype)?;
    let mut shape = input.shape().to_vec();
    shape.splice(shape.len() - 1.., [problem.half]);
    if input.numel() == 0 {
        return Ok(empty(dtype, &shape));
    }
    let width: u32 = count("input", problem.half)?;
    let n_rows = blocks("input", input.numel() / (2 * problem.half), MOST_BLOCKS_X)?;
    let rows = Rows::upload_neighbours(run, input)?;
    let out = run.zeros_of(dtype, &shape)?;
    run.launch(
        &Launch {
            module: Module::Activation,
            name,
            grid: [n_rows, 1, 1],
            block: [THREADS, 1, 1],
            shared_bytes: 0,
        },
        &[&rows.memory.address(), &out.address(), &width, &rows.stride, &i64::from(width)],
    )?;
    run.download_tensor(&out, dtype, &shape)
}
