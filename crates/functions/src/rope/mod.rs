//! Rotary position embedding (Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
//! 2021): pairs of elements of a head are turned by an angle that grows with the token's position.
//!
//! `q` `[n, q_heads, d]` and `k` `[n, k_heads, d]` stand at the same positions. Only the first `rotary_dim`
//! elements of a head turn (all of them by default); the others stay. Everything is computed in f32, the angle
//! included; the results `(q, k)` are new tensors, rounded once.

mod frequencies;
mod problem;

use callbox_core::{Bound, Contract, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::kernels::{Kernel, Kernels};
use crate::table::Function;
use crate::{operand, output};

pub use self::frequencies::{Frequencies, Stretch};
pub use self::problem::{Angles, Pairing, Rope, Turned};

const VALUES: Contract = Contract { writes: &[], results: &[ResultRule::Values] };

pub(crate) const ROWS: &[Function] = &[
    Function::new(
        Kernel::Rope,
        VALUES,
        "apply_rope",
        "q, k, indptr, offsets, rotary_dim=None, interleave=False, rope_scale=1, rope_theta=1e4",
        |kernels, arguments| apply_rope(kernels, arguments, positions_of_segments, divided),
    ),
    Function::new(
        Kernel::Rope,
        VALUES,
        "apply_rope_pos_ids",
        "q, k, pos_ids, rotary_dim=None, interleave=False, rope_scale=1, rope_theta=1e4",
        |kernels, arguments| apply_rope(kernels, arguments, positions_of_tokens, divided),
    ),
    Function::new(
        Kernel::Rope,
        VALUES,
        "apply_llama31_rope",
        "q, k, indptr, offsets, rotary_dim=None, interleave=False, rope_scale=8, rope_theta=5e5, \
         low_freq_factor=1, high_freq_factor=4, old_context_len=8192",
        |kernels, arguments| apply_rope(kernels, arguments, positions_of_segments, stretched),
    ),
    Function::new(
        Kernel::Rope,
        VALUES,
        "apply_llama31_rope_pos_ids",
        "q, k, pos_ids, rotary_dim=None, interleave=False, rope_scale=8, rope_theta=5e5, low_freq_factor=1, \
         high_freq_factor=4, old_context_len=8192",
        |kernels, arguments| apply_rope(kernels, arguments, positions_of_tokens, stretched),
    ),
    Function::new(
        Kernel::Rope,
        VALUES,
        "apply_rope_with_cos_sin_cache",
        "positions, query, key, head_size, cos_sin_cache, is_neox=True",
        apply_rope_with_cos_sin_cache,
    ),
];

/// Turns `q` and `k` by angles computed from the positions.
///
/// `interleave` pairs neighbours; otherwise the halves of the turning part are paired.
fn apply_rope(
    kernels: &mut dyn Kernels,
    arguments: &Bound<'_>,
    positions: fn(&Bound<'_>, usize) -> Result<Vec<i64>, ExecError>,
    stretch: fn(&Bound<'_>) -> Result<Stretch, ExecError>,
) -> Result<OwnedValue, ExecError> {
    let [tokens, _, width] = operand::sizes(arguments, "q", "[n, heads, d]")?;
    let (q, q_heads) = heads(arguments, "q", tokens, width)?;
    let (k, k_heads) = heads(arguments, "k", tokens, width)?;
    if q.numel() == 0 && k.numel() == 0 {
        // The other sizes may be of any magnitude: nothing is computed for them.
        let empty = |tensor: &TensorBuf| output::rounded(tensor.dtype(), tensor.shape(), &[]);
        return Ok(Value::tuple(vec![Value::Tensor(empty(q)?), Value::Tensor(empty(k)?)]));
    }
    let rotary_dim = match arguments.optional_int("rotary_dim")? {
        Some(_) => arguments.size("rotary_dim")?,
        None => width,
    };
    check_rotary_dim("rotary_dim", rotary_dim, width)?;
    let frequencies = Frequencies { theta: arguments.float("rope_theta")?, stretch: stretch(arguments)? };
    let pairing = match arguments.flag("interleave")? {
        true => Pairing::Neighbours,
        false => Pairing::Halves,
    };
    let positions = positions(arguments, tokens)?;
    let angles = Angles::Computed { positions: &positions, frequencies };
    solve(kernels, &Rope { q, k, tokens, q_heads, k_heads, width, rotary_dim, pairing, angles })
}

/// Token `j` of segment `b`, which begins at `indptr[b]`, has the position `offsets[b] + j`.
///
/// `indptr` `[segments + 1]`, `offsets` `[segments]`. A token outside all segments has the position 0
/// and stays as it is.
fn positions_of_segments(arguments: &Bound<'_>, tokens: usize) -> Result<Vec<i64>, ExecError> {
    let indptr = arguments.i64s("indptr")?;
    let offsets = operand::integers_of(
        arguments,
        "offsets",
        &[indptr.len().saturating_sub(1)],
        "one for each segment of `indptr`",
    )?;
    let mut positions = vec![0; tokens];
    for (bounds, offset) in indptr.windows(2).zip(offsets) {
        let segment = match (usize::try_from(bounds[0]), usize::try_from(bounds[1])) {
            (Ok(start), Ok(end)) => positions.get_mut(start..end),
            _ => None,
        };
        let segment = segment.ok_or_else(|| {
            let reason = format!("no segment of the {tokens} tokens of `q`");
            operand::wrong_value("indptr", format!("{}..{}", bounds[0], bounds[1]), reason)
        })?;
        for (place, position) in segment.iter_mut().enumerate() {
            *position = offset.saturating_add(place as i64);
        }
    }
    Ok(positions)
}

/// `pos_ids` `[n]` are the positions.
fn positions_of_tokens(arguments: &Bound<'_>, tokens: usize) -> Result<Vec<i64>, ExecError> {
    operand::integers_of(arguments, "pos_ids", &[tokens], "one for each token of `q`")
}

/// Frequencies divided by `rope_scale`.
fn divided(arguments: &Bound<'_>) -> Result<Stretch, ExecError> {
    Ok(Stretch::Divided { scale: arguments.float("rope_scale")? })
}

/// Frequencies stretched as Llama 3.1 does it.
fn stretched(arguments: &Bound<'_>) -> Result<Stretch, ExecError> {
    Ok(Stretch::Llama31 {
        scale: arguments.float("rope_scale")?,
        low_freq_factor: arguments.float("low_freq_factor")?,
        high_freq_factor: arguments.float("high_freq_factor")?,
        old_context_len: arguments.float("old_context_len")?,
    })
}

/// Turns `query` and `key` by cosines and sines that the caller computed.
///
/// `positions` `[n]`; `query` `[n, q_heads * head_size]`, `key` `[n, k_heads * head_size]`; `cos_sin_cache`
/// `[max_position, rotary_dim]`, each row the cosines of all pairs, then their sines. `is_neox` pairs halves;
/// otherwise neighbours are paired.
fn apply_rope_with_cos_sin_cache(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    let [tokens, _] = operand::sizes(arguments, "query", "[n, heads * head_size]")?;
    let width = arguments.size("head_size")?;
    let (q, q_heads) = flat_heads(arguments, "query", tokens, width)?;
    let (k, k_heads) = flat_heads(arguments, "key", tokens, width)?;
    let [max_position, rotary_dim] =
        operand::sizes(arguments, "cos_sin_cache", "[max_position, rotary_dim]")?;
    check_rotary_dim("cos_sin_cache", rotary_dim, width)?;
    let cache = operand::values(arguments, "cos_sin_cache")?;
    let positions = operand::integers_of(arguments, "positions", &[tokens], "one for each row of `query`")?;
    let pairing = match arguments.flag("is_neox")? {
        true => Pairing::Halves,
        false => Pairing::Neighbours,
    };
    let rows = positions.into_iter().map(|position| {
        usize::try_from(position).ok().filter(|row| *row < max_position).ok_or_else(|| {
            operand::wrong_value("positions", position, format!("`cos_sin_cache` has {max_position} rows"))
        })
    });
    let rows: Vec<usize> = rows.collect::<Result<_, _>>()?;
    let angles = Angles::Cached { rows: &rows, cache };
    solve(kernels, &Rope { q, k, tokens, q_heads, k_heads, width, rotary_dim, pairing, angles })
}

fn check_rotary_dim(name: &str, rotary_dim: usize, width: usize) -> Result<(), ExecError> {
    if rotary_dim.is_multiple_of(2) && rotary_dim <= width {
        return Ok(());
    }
    let reason = format!("the turning part of a head must be even and at most its {width} elements");
    Err(operand::wrong_value(name, rotary_dim, reason))
}

/// Reads a tensor `[tokens, heads, width]`, and the number of heads.
fn heads<'a>(
    arguments: &'a Bound<'_>,
    name: &str,
    tokens: usize,
    width: usize,
) -> Result<(&'a TensorBuf, usize), ExecError> {
    let [n, heads, d] = operand::sizes(arguments, name, "[n, heads, d]")?;
    if (n, d) != (tokens, width) {
        let expected = format!("[{tokens}, heads, {width}], as `q` has them");
        return Err(operand::wrong_shape(name, &[n, heads, d], expected));
    }
    Ok((operand::values(arguments, name)?, heads))
}

/// Reads a tensor `[tokens, heads * width]`, and the number of heads.
fn flat_heads<'a>(
    arguments: &'a Bound<'_>,
    name: &str,
    tokens: usize,
    width: usize,
) -> Result<(&'a TensorBuf, usize), ExecError> {
    let [n, token] = operand::sizes(arguments, name, "[n, heads * head_size]")?;
    if n != tokens || !token.is_multiple_of(width) {
        let expected = format!("[{tokens}, a multiple of {width}]");
        return Err(operand::wrong_shape(name, &[n, token], expected));
    }
    Ok((operand::values(arguments, name)?, token.checked_div(width).unwrap_or(0)))
}

fn solve(kernels: &mut dyn Kernels, problem: &Rope<'_>) -> Result<OwnedValue, ExecError> {
    let Turned { q, k } = kernels.rope(problem)?;
    let q = output::checked(q, problem.q.dtype(), problem.q.shape())?;
    let k = output::checked(k, problem.k.dtype(), problem.k.shape())?;
    Ok(Value::tuple(vec![Value::Tensor(q), Value::Tensor(k)]))
}
