//! `rope.cu`: a block for each token, queries and keys one after the other.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{Angles, Frequencies, Pairing, Rope, Stretch, Turned};

use super::launch::{Launch, Parameter};
use super::memory::{Memory, Run, empty};
use super::modules::Module;
use super::rows::Laid;
use super::types::{FLOATS, MOST_BLOCKS_X, blocks, count, floats, no_kernel, suffix};

const THREADS: u32 = 128;

/// `Heads` in `rope.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    input: u64,
    out: u64,
    input_token_stride: i64,
    input_head_stride: i64,
    out_token_stride: i64,
    out_head_stride: i64,
    n_heads: u32,
    width: u32,
    rotary_dim: u32,
    interleave: u32,
    /// 1: positions are int64.
    wide: u32,
    unused: u32,
}

const _: () = assert!(size_of::<Heads>() == 72);

/// `Frequencies` in `rotation.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct FrequencyParameters {
    theta: f32,
    scale: f32,
    low_freq_factor: f32,
    high_freq_factor: f32,
    /// 0: frequencies are divided and nothing else.
    old_context_len: f32,
}

const _: () = assert!(size_of::<FrequencyParameters>() == 20);

/// Solves [`Rope`].
pub(super) fn rope(run: &Run<'_>, problem: &Rope<'_>) -> Result<Turned, ExecError> {
    let turning = Turning::upload(run, problem)?;
    let q = Part { argument: "q", tensor: problem.q, n_heads: problem.q_heads };
    let k = Part { argument: "k", tensor: problem.k, n_heads: problem.k_heads };
    let (q, k) = (turn(run, problem, &turning, &q)?, turn(run, problem, &turning, &k)?);
    Ok(Turned { q, k })
}

/// How far tokens turn, on the device.
enum Turning {
    Computed { frequencies: FrequencyParameters, positions: Memory },
    Cached { rows: Memory, cache: Memory },
}

impl Turning {
    fn upload(run: &Run<'_>, problem: &Rope<'_>) -> Result<Turning, ExecError> {
        Ok(match problem.angles {
            Angles::Computed { positions, frequencies } => Turning::Computed {
                frequencies: frequency_parameters(frequencies)?,
                positions: run.upload_numbers(positions)?,
            },
            Angles::Cached { rows, cache } => Turning::Cached {
                rows: run.upload_numbers(&rows.iter().map(|&row| row as i64).collect::<Vec<_>>())?,
                cache: run.upload_numbers(&floats("cos_sin_cache", cache)?)?,
            },
        })
    }
}

fn frequency_parameters(frequencies: Frequencies) -> Result<FrequencyParameters, ExecError> {
    let plain = FrequencyParameters {
        theta: frequencies.theta,
        scale: 1.0,
        low_freq_factor: 0.0,
        high_freq_factor: 0.0,
        old_context_len: 0.0,
    };
    match frequencies.stretch {
        Stretch::Divided { scale } => Ok(FrequencyParameters { scale, ..plain }),
        Stretch::Llama31 { scale, low_freq_factor, high_freq_factor, old_context_len }
            if old_context_len > 0.0 =>
        {
            Ok(FrequencyParameters { scale, low_freq_factor, high_freq_factor, old_context_len, ..plain })
        }
        Stretch::Llama31 { old_context_len, .. } => {
            let reason = format!("{old_context_len} is no positive number of tokens");
            Err(no_kernel("old_context_len", reason))
        }
    }
}

/// A tensor of heads, one launch's.
struct Part<'a> {
    argument: &'static str,
    tensor: &'a TensorBuf,
    n_heads: usize,
}

fn turn(
    run: &Run<'_>,
    problem: &Rope<'_>,
    turning: &Turning,
    part: &Part<'_>,
) -> Result<TensorBuf, ExecError> {
    let &Part { argument, tensor, n_heads } = part;
    let suffix = suffix(argument, tensor.dtype(), FLOATS)?;
    if tensor.numel() == 0 {
        return Ok(empty(tensor.dtype(), tensor.shape()));
    }
    let grid = [blocks(argument, problem.tokens, MOST_BLOCKS_X)?, 1, 1];
    // A block counts the places of its heads.
    count::<u32>(argument, n_heads.saturating_mul(problem.width))?;
    let laid = Laid::neighbours(tensor);
    let (token_stride, head_stride) = match laid.strides[..] {
        [token, head, _] => (token, head),
        [token, _] => (token, problem.width),
        _ => unreachable!("heads have two dimensions or three"),
    };
    let (input, out) = (run.upload(&laid.bytes)?, run.zeros_of(tensor.dtype(), tensor.shape())?);
    let heads = Heads {
        input: input.address(),
        out: out.address(),
        input_token_stride: token_stride as i64,
        input_head_stride: head_stride as i64,
        out_token_stride: (n_heads * problem.width) as i64,
        out_head_stride: problem.width as i64,
        n_heads: count(argument, n_heads)?,
        width: count(argument, problem.width)?,
        rotary_dim: count(argument, problem.rotary_dim)?,
        interleave: u32::from(problem.pairing == Pairing::Neighbours),
        wide: 1,
        unused: 0,
    };
    let launch = |kernel: &str, parameters: &[&dyn Parameter]| {
        let (name, block) = (format!("{kernel}_{suffix}"), [THREADS, 1, 1]);
        run.launch(&Launch { module: Module::Rope, name, grid, block, shared_bytes: 0 }, parameters)
    };
    match turning {
        Turning::Computed { frequencies, positions } => {
            launch("apply_rope_pos_ids", &[&heads, frequencies, &positions.address()])
        }
        Turning::Cached { rows, cache } => {
            launch("apply_rope_with_cos_sin_cache", &[&heads, &rows.address(), &cache.address()])
        }
    }?;
    run.download_tensor(&out, tensor.dtype(), tensor.shape())
}
