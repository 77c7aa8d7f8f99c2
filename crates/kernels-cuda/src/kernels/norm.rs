//! `norm.cu`: a block for each row.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{AddedAndNormed, FusedAddRmsNorm, Gain, LayerNorm, RmsNorm};

use super::launch::Launch;
use super::memory::{Run, empty};
use super::modules::Module;
use super::rows::{Laid, Rows};
use super::types::{FLOATS, MOST_BLOCKS_X, blocks, count, expect_dtype, floats, suffix};

/// Whole warps.
const THREADS: u32 = 128;

/// Solves [`RmsNorm`].
pub(super) fn rms_norm(run: &Run<'_>, problem: &RmsNorm<'_>) -> Result<TensorBuf, ExecError> {
    let (input, dtype) = (problem.input, problem.input.dtype());
    let name = format!("rmsnorm_{}", suffix("input", dtype, FLOATS)?);
    expect_dtype("weight", problem.weight.dtype(), dtype)?;
    expect_dtype("out", problem.dtype, dtype)?;
    if input.numel() == 0 {
        return Ok(empty(dtype, input.shape()));
    }
    let width: u32 = count("input", problem.width)?;
    let launch = by_rows(name, input.numel() / problem.width)?;
    let rows = Rows::upload_neighbours(run, input)?;
    let weight = run.upload(&Laid::copied(problem.weight).bytes)?;
    let out = run.zeros_of(dtype, input.shape())?;
    let weight_offset = match problem.gain {
        Gain::Weight => 0f32,
        Gain::OnePlusWeight => 1.0,
    };
    run.launch(
        &launch,
        &[
            &rows.memory.address(),
            &weight.address(),
            &out.address(),
            &width,
            &rows.stride,
            &i64::from(width),
            &problem.eps,
            &weight_offset,
        ],
    )?;
    run.download_tensor(&out, dtype, input.shape())
}

/// Solves [`FusedAddRmsNorm`]: the kernel writes both over what it reads.
pub(super) fn fused_add_rms_norm(
    run: &Run<'_>,
    problem: &FusedAddRmsNorm<'_>,
) -> Result<AddedAndNormed, ExecError> {
    let (input, dtype) = (problem.input, problem.input.dtype());
    let name = format!("fused_add_rmsnorm_{}", suffix("input", dtype, FLOATS)?);
    expect_dtype("residual", problem.residual.dtype(), dtype)?;
    expect_dtype("weight", problem.weight.dtype(), dtype)?;
    if input.numel() == 0 {
        let nothing = empty(dtype, input.shape());
        return Ok(AddedAndNormed { sum: nothing.clone(), normed: nothing });
    }
    let width: u32 = count("input", problem.width)?;
    let launch = by_rows(name, input.numel() / problem.width)?;
    let normed = run.upload(&Laid::copied(input).bytes)?;
    let sum = run.upload(&Laid::copied(problem.residual).bytes)?;
    let weight = run.upload(&Laid::copied(problem.weight).bytes)?;
    run.launch(
        &launch,
        &[
            &normed.address(),
            &sum.address(),
            &weight.address(),
            &width,
            &i64::from(width),
            &i64::from(width),
            &problem.eps,
            &0f32,
        ],
    )?;
    Ok(AddedAndNormed {
        sum: run.download_tensor(&sum, dtype, input.shape())?,
        normed: run.download_tensor(&normed, dtype, input.shape())?,
    })
}

/// Solves [`LayerNorm`].
pub(super) fn layer_norm(run: &Run<'_>, problem: &LayerNorm<'_>) -> Result<TensorBuf, ExecError> {
    let (input, dtype) = (problem.input, problem.input.dtype());
    let name = format!("layernorm_{}", suffix("input", dtype, FLOATS)?);
    expect_dtype("out", problem.dtype, dtype)?;
    if input.numel() == 0 {
        return Ok(empty(dtype, input.shape()));
    }
    let width: u32 = count("input", problem.width)?;
    let launch = by_rows(name, input.numel() / problem.width)?;
    let rows = Rows::upload_neighbours(run, input)?;
    let gamma = run.upload_numbers(&floats("gemma", problem.gamma)?)?;
    let beta = run.upload_numbers(&floats("beta", problem.beta)?)?;
    let out = run.zeros_of(dtype, input.shape())?;
    run.launch(
        &launch,
        &[
            &rows.memory.address(),
            &gamma.address(),
            &beta.address(),
            &out.address(),
            &width,
            &rows.stride,
            &i64::from(width),
            &problem.eps,
        ],
    )?;
    run.download_tensor(&out, dtype, input.shape())
}

fn by_rows(name: String, rows: usize) -> Result<Launch, ExecError> {
    let rows = blocks("input", rows, MOST_BLOCKS_X)?;
    Ok(Launch { module: Module::Norm, name, grid: [rows, 1, 1], block: [THREADS, 1, 1], shared_bytes: 0 })
}
