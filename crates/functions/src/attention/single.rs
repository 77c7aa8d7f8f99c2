//! Attention of one sequence.

use callbox_core::{Bound, ExecError, OwnedValue, Value};

use super::mask::{Bounds, CustomMask};
use super::options::Options;
use super::problem::{Attended, Attention, Operands, Sequence, Tokens};
use super::scale::{self, HeadScales};
use super::vectors::Vectors;
use crate::kernels::Kernels;
use crate::kv_layout::KvLayout;
use crate::output;

/// Attention of one query, which stands at the place of the last key.
///
/// `q` `[qo_heads, d]`; `k`, `v` `[kv_len, kv_heads, d]` (`NHD`) or `[kv_heads, kv_len, d]` (`HND`). Returns
/// `[qo_heads, d_vo]` in the dtype of `q`; with `return_lse` also the log-sum-exp, f32 `[qo_heads]`.
pub(crate) fn decode(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let operands = operands(arguments, Vectors::of_token("q", arguments.tensor("q")?)?)?;
    let options = Options::read(arguments, operands.queries().width())?;
    let bounds = Bounds { left: options.window_left, right: None };
    let problem = Attention::new(&operands, &options, bounds, sequence(&operands, None));
    let problem = Attention {
        sm_scale: options.sm_scale * scale::product(arguments, &["q_scale", "k_scale"])?,
        v_scale: scale::product(arguments, &["v_scale"])?,
        ..problem
    };
    let [_, heads, width] = operands.output_shape();
    finish(kernels, arguments, &problem, &[heads, width])
}

/// Attention of queries at the end of a sequence.
///
/// `q` `[qo_len, qo_heads, d]`; `k`, `v` `[kv_len, kv_heads, d]` (`NHD`) or `[kv_heads, kv_len, d]` (`HND`).
/// `scale_q` `[qo_heads]`, `scale_k` and `scale_v` `[kv_heads]` multiply heads, `k_scale` and `v_scale` all of
/// them. `custom_mask` `[qo_len, kv_len]`, or packed, takes the place of `causal`. Returns
/// `[qo_len, qo_heads, d_vo]` in `o_dtype`, or else in the dtype of `q`; with `return_lse` also the
/// log-sum-exp, f32 `[qo_len, qo_heads]`.
pub(crate) fn prefill(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    arguments.refuse("kv_cache_sf", "NVFP4 keys and values")?;
    let queries = Vectors::of_tokens("q", arguments.tensor("q")?, KvLayout::Nhd)?;
    let operands = operands(arguments, queries)?;
    let options = Options::read(arguments, operands.queries().width())?;
    let mask = CustomMask::read(arguments, &[(operands.rows(), operands.keys().slots())])?;
    let causal = mask.is_none() && arguments.flag("causal")?;
    let bounds = Bounds { left: options.window_left, right: causal.then_some(0) };
    let problem = Attention::new(&operands, &options, bounds, sequence(&operands, mask.as_ref()));
    let per_head = |name, heads| scale::per_head(name, arguments.value(name), heads);
    let (qo_heads, kv_heads) = (operands.queries().heads(), operands.keys().heads());
    let problem = Attention {
        sm_scale: options.sm_scale * scale::product(arguments, &["k_scale"])?,
        v_scale: scale::product(arguments, &["v_scale"])?,
        head_scales: HeadScales {
            q: per_head("scale_q", qo_heads)?,
            k: per_head("scale_k", kv_heads)?,
            v: per_head("scale_v", kv_heads)?,
        },
        ..problem
    };
    let dtype = arguments.optional_dtype("o_dtype")?.unwrap_or(problem.dtype);
    finish(kernels, arguments, &Attention { dtype, ..problem }, &operands.output_shape())
}

fn operands(arguments: &Bound<'_>, queries: Vectors) -> Result<Operands, ExecError> {
    let layout = KvLayout::read(arguments)?;
    let keys = Vectors::of_tokens("k", arguments.tensor("k")?, layout)?;
    let values = Vectors::of_tokens("v", arguments.tensor("v")?, layout)?;
    Operands::new(queries, keys, values)
}

/// Makes one sequence of all queries and keys.
fn sequence<'a>(operands: &Operands, mask: Option<&'a CustomMask>) -> Vec<Sequence<'a>> {
    vec![Sequence {
        rows: 0..operands.rows(),
        keys: Tokens::Slots { start: 0, len: operands.keys().slots() },
        mask: mask.map(|mask| mask.of(0)),
    }]
}

/// Solves a problem; gives back the output in this shape, and its log-sum-exp, of the same shape but for the last
/// dimension.
fn finish(
    kernels: &mut dyn Kernels,
    arguments: &Bound<'_>,
    problem: &Attention<'_>,
    shape: &[usize],
) -> Result<OwnedValue, ExecError> {
    problem.operands.check_output()?;
    output::check_rounds("result", problem.dtype, shape)?;
    let Attended { output, lse } = problem.solve(kernels)?;
    let out = Value::Tensor(output::reshaped(&output, shape));
    if !arguments.flag("return_lse")? {
        return Ok(out);
    }
    let lse = output::reshaped(&lse, &shape[..shape.len() - 1]);
    Ok(Value::tuple(vec![out, Value::Tensor(lse)]))
}
