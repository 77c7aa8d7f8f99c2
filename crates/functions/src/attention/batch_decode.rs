//! `BatchDecodeWithPagedKVCacheWrapper`: a few queries behind the last key of each sequence.

use callbox_core::{Bound, ExecError, OwnedValue, Value};

use super::indptr::{PageArguments, PageTable};
use super::paged;
use super::plan::Plan;
use super::result::LseForm;
use crate::kernels::Kernels;
use crate::kv_layout::KvLayout;
use crate::table::Wrapper;

/// The object: its layout and its last plan.
#[derive(Clone, Debug)]
struct BatchDecode {
    layout: KvLayout,
    planned: Option<(Plan, PageTable)>,
}

/// Keeps `kv_layout`; the other arguments are buffers, or choose among kernels.
pub(crate) fn construct(arguments: &mut Bound<'_>) -> Result<Box<dyn Wrapper>, ExecError> {
    arguments.refuse("jit_args", "custom kernels")?;
    Ok(Box::new(BatchDecode { layout: KvLayout::read(arguments)?, planned: None }))
}

impl Wrapper for BatchDecode {
    fn duplicate(&self) -> Box<dyn Wrapper> {
        Box::new(self.clone())
    }

    /// Keeps the page table, heads, dtypes and options.
    ///
    /// A query sees no key
    /// behind its own place, unless `window_right` allows some (negative: all) or `is_causal` is false.
    fn plan(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        self.planned = None;
        let names = PageArguments { indptr: "indptr", indices: "indices", last_page_len: "last_page_len" };
        let pages = PageTable::read(arguments, names)?;
        arguments.optional_dtype("data_type")?;
        let causal = matches!(arguments.value("is_causal"), Value::None) || arguments.flag("is_causal")?;
        let right = match arguments.int("window_right")? {
            0 => causal.then_some(0),
            right => (right > 0).then_some(right),
        };
        let plan = Plan::read(arguments, "head_dim", right)?;
        self.planned = Some((plan, pages));
        Ok(Value::None)
    }

    /// Runs the plan: `q` `[batch * q_len, qo_heads, d]`, the rows of a sequence one behind the other.
    fn run(&mut self, kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        let Some((plan, pages)) = &self.planned else {
            return Err(ExecError::OutOfOrder { needs: "plan" });
        };
        let operands = paged::operands(arguments, self.layout)?;
        let (batch, rows) = (pages.len(), operands.rows());
        let q_len = match arguments.optional_int("q_len_per_req")? {
            Some(_) => arguments.size("q_len_per_req")?,
            None => rows.checked_div(batch).unwrap_or(0),
        };
        if batch.checked_mul(q_len) != Some(rows) {
            let expected = format!("as many rows for each of the {batch} sequences");
            return Err(operands.queries().wrong_shape(expected));
        }
        let rows = (0..batch).map(|index| index * q_len..(index + 1) * q_len);
        paged::run(kernels, arguments, plan, pages, &operands, rows, LseForm::default())
    }
}
