//! `BatchPrefillWithRaggedKVCacheWrapper`: any number of queries at the end of each sequence, whose keys lie
//! side by side.

use std::ops::Range;

use callbox_core::{Bound, DType, ExecError, OwnedValue, Value};

use super::indptr;
use super::plan::Plan;
use super::problem::{Attention, Operands, Tokens};
use super::result::{self, LseForm};
use super::scale::{self, HeadScales, is_fp8};
use super::vectors::Vectors;
use crate::kernels::Kernels;
use crate::kv_layout::KvLayout;
use crate::table::Wrapper;

/// The object: its layout and its last plan.
#[derive(Clone, Debug)]
struct RaggedPrefill {
    layout: KvLayout,
    planned: Option<Planned>,
}

#[derive(Clone, Debug)]
struct Planned {
    plan: Plan,
    /// Rows of each sequence.
    rows: Vec<Range<usize>>,
    /// Keys of each sequence.
    keys: Vec<Range<usize>>,
}

/// Keeps `kv_layout`; the other arguments are buffers, or choose among kernels.
pub(crate) fn construct(arguments: &mut Bound<'_>) -> Result<Box<dyn Wrapper>, ExecError> {
    for name in ["jit_args", "variant_owns_mask"] {
        arguments.refuse(name, "custom kernels")?;
    }
    Ok(Box::new(RaggedPrefill { layout: KvLayout::read(arguments)?, planned: None }))
}

impl Wrapper for RaggedPrefill {
    fn duplicate(&self) -> Box<dyn Wrapper> {
        Box::new(self.clone())
    }

    /// Keeps rows and keys of each sequence, heads, dtypes, options and masks.
    fn plan(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        self.planned = None;
        for name in ["v_indptr", "o_indptr"] {
            arguments.refuse(name, "bounds that differ from those of keys and queries")?;
        }
        let keys = indptr::ranges(arguments, "kv_indptr")?;
        let rows = indptr::rows(arguments, "kv_indptr", keys.len())?;
        let plan = Plan::read_prefill(arguments, &rows, keys.iter().map(Range::len))?;
        self.planned = Some(Planned { plan, rows, keys });
        Ok(Value::None)
    }

    /// Runs the plan: `q` `[qo_indptr[-1], qo_heads, d]`; `k`, `v` `[kv_indptr[-1], kv_heads, d]` (`NHD`) or
    /// with the heads first (`HND`).
    ///
    /// As FlashInfer has it, `k_scale` and `v_scale` count only where the keys are fp8 and the queries are
    /// not, and `q_scale` never; an output dtype of one byte is the default of an fp8 plan, and gives bf16 for
    /// fp8 queries and the dtype of others.
    fn run(&mut self, kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        let Some(Planned { plan, rows, keys }) = &self.planned else {
            return Err(ExecError::OutOfOrder { needs: "plan" });
        };
        arguments.refuse("kv_cache_sf", "NVFP4 keys and values")?;
        match arguments.optional_float("o_scale")? {
            None | Some(1.0) => {}
            Some(_) => arguments.refuse("o_scale", "a quantised output")?,
        }
        let form = LseForm::read(arguments)?;
        let operands = Operands::new(
            Vectors::of_tokens("q", arguments.tensor("q")?, KvLayout::Nhd)?,
            Vectors::of_tokens("k", arguments.tensor("k")?, self.layout)?,
            Vectors::of_tokens("v", arguments.tensor("v")?, self.layout)?,
        )?;
        plan.check(&operands)?;
        indptr::check_rows(&operands, rows)?;
        let tokens = operands.keys().slots();
        indptr::check_end("kv_indptr", keys, tokens, "`k`")?;

        let batch = rows
            .iter()
            .cloned()
            .zip(keys.iter().map(|keys| Tokens::Slots { start: keys.start, len: keys.len() }));
        let problem = plan.problem(&operands, batch);
        let (q_dtype, k_dtype) = (operands.queries().tensor().dtype(), operands.keys().tensor().dtype());
        let scaled = |name| match is_fp8(k_dtype) && !is_fp8(q_dtype) {
            true => scale::product(arguments, &[name]),
            false => Ok(1.0),
        };
        let problem = Attention {
            sm_scale: problem.sm_scale * scaled("k_scale")?,
            v_scale: scaled("v_scale")?,
            head_scales: HeadScales::of_rest(arguments, &operands)?,
            ..problem
        };
        let dtype = match plan.output_dtype(&operands) {
            // One byte would not do for a result.
            dtype if dtype.item_size() == 1 => DType::BFloat16,
            dtype => dtype,
        };
        let target = result::target(arguments, &operands, dtype)?;
        let attended = Attention { dtype: target.dtype(), ..problem }.solve(kernels)?;
        result::finish(arguments, target, attended, form)
    }
}
