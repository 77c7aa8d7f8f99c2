//! What `plan` fixes for every later `run`, as far as all wrapper classes have it in common.

use std::ops::Range;

use callbox_core::{Bound, DType, ExecError};

use super::mask::{Bounds, CustomMask};
use super::options::Options;
use super::problem::{Operands, Problem, Sequence, Tokens};
use super::vectors::Vectors;
use crate::operand;

/// Heads, dtypes, options and masks of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    qo_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// `None`: as the values have it.
    head_dim_vo: Option<usize>,
    dtypes: DTypes,
    options: Options,
    bounds: Bounds,
    mask: Option<CustomMask>,
}

/// The planned dtypes of queries, of keys and values, and of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DTypes {
    pub(crate) q: DType,
    pub(crate) kv: DType,
    pub(crate) output: DType,
}

impl DTypes {
    /// Reads `q_data_type`, `kv_data_type` and `o_data_type`; keys, values and output are as the queries,
    /// where theirs is None.
    ///
    /// `fallback` stands in for `q_data_type` and `kv_data_type` where those are None.
    pub(crate) fn read(arguments: &Bound<'_>, fallback: Option<DType>) -> Result<DTypes, ExecError> {
        let q = match arguments.optional_dtype("q_data_type")?.or(fallback) {
            Some(q) => q,
            None => arguments.dtype("q_data_type")?,
        };
        let kv = arguments.optional_dtype("kv_data_type")?.or(fallback).unwrap_or(q);
        let output = arguments.optional_dtype("o_data_type")?.unwrap_or(q);
        Ok(DTypes { q, kv, output })
    }
}

impl Plan {
    /// Reads `num_qo_heads`, `num_kv_heads`, the length of the keys' heads (under the name `head_dim`) and the
    /// options.
    ///
    /// `right` is the bound behind a query's own place.
    pub(crate) fn read(
        arguments: &Bound<'_>,
        head_dim: &str,
        dtypes: DTypes,
        right: Option<i64>,
    ) -> Result<Plan, ExecError> {
        let (qo_heads, kv_heads) = (arguments.size("num_qo_heads")?, arguments.size("num_kv_heads")?);
        if kv_heads == 0 || !qo_heads.is_multiple_of(kv_heads) {
            let reason = format!("expected a multiple of `num_kv_heads`, {kv_heads}, which is positive");
            return Err(operand::wrong_value("num_qo_heads", qo_heads, reason));
        }
        let head_dim = arguments.size(head_dim)?;
        let options = Options::read(arguments, head_dim)?;
        Ok(Plan {
            qo_heads,
            kv_heads,
            head_dim,
            head_dim_vo: None,
            dtypes,
            options,
            bounds: Bounds { left: options.window_left, right },
            mask: None,
        })
    }

    /// Reads what the two prefill classes add: `head_dim_vo`, `causal`, the masks.
    ///
    /// `keys` are the lengths of the sequences whose rows are `rows`.
    pub(crate) fn read_prefill(
        arguments: &Bound<'_>,
        rows: &[Range<usize>],
        keys: impl Iterator<Item = usize>,
    ) -> Result<Plan, ExecError> {
        for name in ["prefix_len_ptr", "token_pos_in_items_ptr", "max_item_len_ptr"] {
            arguments.refuse(name, "multi-item scoring")?;
        }
        let blocks: Vec<_> = rows.iter().map(Range::len).zip(keys).collect();
        let mask = CustomMask::read(arguments, &blocks)?;
        let causal = mask.is_none() && arguments.flag("causal")?;
        let dtypes = DTypes::read(arguments, None)?;
        let plan = Plan::read(arguments, "head_dim_qk", dtypes, causal.then_some(0))?;
        let head_dim_vo = match arguments.optional_int("head_dim_vo")? {
            Some(_) => arguments.size("head_dim_vo")?,
            None => plan.head_dim,
        };
        Ok(Plan { head_dim_vo: Some(head_dim_vo), mask, ..plan })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn output_dtype(&self) -> DType {
        self.dtypes.output
    }

    /// Fails unless heads and dtypes are the planned ones.
    pub(crate) fn check(&self, operands: &Operands) -> Result<(), ExecError> {
        let check = |vectors: &Vectors, heads, width| {
            if (vectors.heads(), vectors.width()) == (heads, width) {
                return Ok(());
            }
            Err(vectors.wrong_shape(format!("{heads} heads of {width} elements, as planned")))
        };
        let (queries, keys, values) = (operands.queries(), operands.keys(), operands.values());
        check(queries, self.qo_heads, self.head_dim)?;
        check(keys, self.kv_heads, self.head_dim)?;
        check(values, self.kv_heads, self.head_dim_vo.unwrap_or(values.width()))?;
        check_dtype(queries, self.dtypes.q, "q_data_type")?;
        check_dtype(keys, self.dtypes.kv, "kv_data_type")
    }

    /// Describes the attention of a batch whose sequences have these rows and keys.
    pub(crate) fn problem<'a>(
        &'a self,
        operands: &'a Operands,
        batch: impl Iterator<Item = (Range<usize>, Tokens<'a>)>,
    ) -> Problem<'a> {
        let sequences = batch
            .enumerate()
            .map(|(index, (rows, keys))| Sequence {
                rows,
                keys,
                mask: self.mask.as_ref().map(|mask| mask.of(index)),
            })
            .collect();
        Problem::new(operands, &self.options, self.bounds, sequences)
    }
}

fn check_dtype(vectors: &Vectors, planned: DType, option: &str) -> Result<(), ExecError> {
    let dtype = vectors.tensor().dtype();
    if dtype == planned {
        return Ok(());
    }
    let reason = format!("`{option}` was planned as {planned}");
    Err(operand::wrong_value(vectors.name(), format!("of {dtype}"), reason))
}
