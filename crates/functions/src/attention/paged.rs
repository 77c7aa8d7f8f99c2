//! Keys and values in pages (Kwon et al., "Efficient Memory Management for Large Language Model Serving with
//! PagedAttention", 2023), and the run that the two wrapper classes over them have in common.

use std::ops::Range;

use callbox_core::{Bound, ExecError, OwnedValue, Value};

use super::indptr::PageTable;
use super::plan::Plan;
use super::problem::{Attention, Operands};
use super::result::{self, LseForm};
use super::scale::{self, HeadScales};
use super::vectors::Vectors;
use crate::kernels::Kernels;
use crate::kv_layout::KvLayout;
use crate::operand;

const CACHE: &str = "paged_kv_cache";

/// Reads `q` `[rows, qo_heads, d]` and `paged_kv_cache`.
///
/// The cache is a tensor `[pages, 2, page_size, kv_heads, d]` (`NHD`) or `[pages, 2, kv_heads, page_size, d]`
/// (`HND`), keys before values, or a tuple of keys and values, each without dimension 1. Pages of one token
/// may come without the dimension of `page_size`.
pub(crate) fn operands(arguments: &Bound<'_>, layout: KvLayout) -> Result<Operands, ExecError> {
    arguments.refuse("kv_cache_sf", "NVFP4 keys and values")?;
    let queries = Vectors::of_tokens("q", arguments.tensor("q")?, KvLayout::Nhd)?;
    let [keys, values] = match arguments.value(CACHE) {
        Value::Tensor(both) => Vectors::of_page_pairs(CACHE, both, layout)?,
        Value::Tuple { items, .. } => match &items[..] {
            [Value::Tensor(keys), Value::Tensor(values)] => {
                [Vectors::of_pages(CACHE, keys, layout)?, Vectors::of_pages(CACHE, values, layout)?]
            }
            _ => return Err(wrong_cache(format!("tuple of {} items", items.len()))),
        },
        other => return Err(wrong_cache(other.type_name().to_owned())),
    };
    Operands::new(queries, keys, values)
}

fn wrong_cache(found: String) -> ExecError {
    ExecError::ArgumentType {
        argument: CACHE.to_owned(),
        expected: "a tensor or a tuple of two tensors",
        found,
    }
}

/// Runs a plan; `rows` are the rows of each sequence.
///
/// `q_scale`, `k_scale` and `v_scale` are numbers or tensors of one element; fp8 queries may be followed by
/// factors of their heads, of the keys' and of the values', by position. `sinks` `[qo_heads]` are logits.
pub(crate) fn run(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
    plan: &Plan,
    pages: &PageTable,
    operands: &Operands,
    rows: impl Iterator<Item = Range<usize>>,
    form: LseForm,
) -> Result<OwnedValue, ExecError> {
    arguments.refuse("skip_softmax_threshold_scale_factor", "skipping of small weights")?;
    plan.options().check_window(arguments)?;
    plan.check(operands)?;
    pages.check(operands.keys())?;
    let heads = operands.queries().heads();
    let sinks = match arguments.optional_tensor("sinks")? {
        Some(_) => {
            let meaning = "one logit for each query head";
            Some(operand::values_of(arguments, "sinks", &[heads], meaning)?)
        }
        None => None,
    };
    let problem = plan.problem(operands, rows.zip(pages.tokens()));
    let problem = Attention {
        sm_scale: problem.sm_scale * scale::product(arguments, &["q_scale", "k_scale"])?,
        v_scale: scale::product(arguments, &["v_scale"])?,
        head_scales: HeadScales::of_rest(arguments, operands)?,
        sinks,
        ..problem
    };
    let target = result::target(arguments, operands, plan.output_dtype(operands))?;
    let attended = Attention { dtype: target.dtype(), ..problem }.solve(kernels)?;
    result::finish(arguments, target, attended, form)
}
