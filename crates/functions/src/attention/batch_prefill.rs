//! `BatchPrefillWithPagedKVCacheWrapper`: any number of queries at the end of each sequence in pages.

use std::ops::Range;

use callbox_core::{Bound, ExecError, OwnedValue, Value};

use super::indptr::{self, PageArguments, PageTable};
use super::paged;
use super::plan::Plan;
use super::result::LseForm;
use crate::kernels::Kernels;
use crate::kv_layout::KvLayout;
use crate::table::Wrapper;

/// The object: its layout and its last plan.
#[derive(Clone, Debug)]
struct BatchPrefill {
    layout: KvLayout,
    planned: Option<Planned>,
}

#[derive(Clone, Debug)]
struct Planned {
    plan: Plan,
    pages: PageTable,
    /// Rows of each sequence.
    rows: Vec<Range<usize>>,
}

/// Keeps `kv_layout`; the other arguments are buffers, or choose among kernels.
pub(crate) fn construct(arguments: &mut Bound<'_>) -> Result<Box<dyn Wrapper>, ExecError> {
    for name in ["jit_args", "variant_owns_mask"] {
        arguments.refuse(name, "custom kernels")?;
    }
    Ok(Box::new(BatchPrefill { layout: KvLayout::read(arguments)?, planned: None }))
}

impl Wrapper for BatchPrefill {
    fn duplicate(&self) -> Box<dyn Wrapper> {
        Box::new(self.clone())
    }

    /// Keeps rows and pages of each sequence, heads, dtypes, options and masks.
    fn plan(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        self.planned = None;
        let names = PageArguments {
            indptr: "paged_kv_indptr",
            indices: "paged_kv_indices",
            last_page_len: "paged_kv_last_page_len",
        };
        let pages = PageTable::read(arguments, names)?;
        let rows = indptr::rows(arguments, names.indptr, pages.len())?;
        let keys = pages.tokens().map(|tokens| tokens.count());
        let plan = Plan::read_prefill(arguments, &rows, keys)?;
        self.planned = Some(Planned { plan, pages, rows });
        Ok(Value::None)
    }

    /// Runs the plan: `q` `[qo_indptr[-1], qo_heads, d]`.
    fn run(&mut self, kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
        let Some(Planned { plan, pages, rows }) = &self.planned else {
            return Err(ExecError::OutOfOrder { needs: "plan" });
        };
        arguments.refuse("uses_spcompress", "sparse compression")?;
        let form = LseForm::read(arguments)?;
        let operands = paged::operands(arguments, self.layout)?;
        indptr::check_rows(&operands, rows)?;
        paged::run(kernels, arguments, plan, pages, &operands, rows.iter().cloned(), form)
    }
}
