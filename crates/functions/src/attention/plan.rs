//! What `plan` fixes for every later `run`, as far as all wrapper classes have it in common.

use std::ops::Range;

use callbox_core::{Bound, DType, ExecError};

use super::mask::{Bounds, CustomMask};
use super::options::Options;
use super::problem::{Attention, Operands, Sequence, Tokens};
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
    output: Option<DType>,
    options: Options,
    bounds: Bounds,
    mask: Option<CustomMask>,
}

/// Reads `o_data_type`, and sees that the other dtypes are dtypes.
///
/// `q_data_type` and `kv_data_type` choose a kernel in FlashInfer; here the tensors of `run` say what they are. A
/// recorded call that returned was accepted, whatever was planned.
fn output_dtype(arguments: &Bound<'_>) -> Result<Option<DType>, ExecError> {
    arguments.optional_dtype("q_data_type")?;
    arguments.optional_dtype("kv_data_type")?;
    arguments.optional_dtype("o_data_type")
}

impl Plan {
    /// Reads `num_qo_heads`, `num_kv_heads`, the length of the keys' heads (under the name `head_dim`) and the
    /// options.
    ///
    /// `right` is the bound behind a query's own place.
    pub(crate) fn read(arguments: &Bound<'_>, head_dim: &str, right: Option<i64>) -> Result<Plan, ExecError> {
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
            output: output_dtype(arguments)?,
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
        let plan = Plan::read(arguments, "head_dim_qk", causal.then_some(0))?;
        let head_dim_vo = match arguments.optional_int("head_dim_vo")? {
            Some(_) => arguments.size("head_dim_vo")?,
            None => plan.head_dim,
        };
        Ok(Plan { head_dim_vo: Some(head_dim_vo), mask, ..plan })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the planned dtype of the output, or that of the queries.
    pub(crate) fn output_dtype(&self, operands: &Operands) -> DType {
        self.output.unwrap_or(operands.queries().tensor().dtype())
    }

    /// Fails unless the heads are the planned ones.
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
        check(values, self.kv_heads, self.head_dim_vo.unwrap_or(values.width()))
    }

    /// Describes the attention of a batch whose sequences have these rows and keys.
    pub(crate) fn problem<'a>(
        &'a self,
        operands: &'a Operands,
        batch: impl Iterator<Item = (Range<usize>, Tokens<'a>)>,
    ) -> Attention<'a> {
        let sequences = batch
            .enumerate()
            .map(|(index, (rows, keys))| Sequence {
                rows,
                keys,
                mask: self.mask.as_ref().map(|mask| mask.of(index)),
            })
            .collect();
        Attention::new(operands, &self.options, self.bounds, sequences)
    }
}
