//! What `run` gives back: the output, and the log-sum-exp where it is asked for.

use std::f32::consts::LN_2;

use callbox_core::{Bound, DType, ExecError, OwnedValue, TensorBuf, Value};

use super::problem::{Attended, Operands};
use crate::operand;
use crate::output::{self, Target};

/// The form of the log-sum-exp.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LseForm {
    /// Base e in place of 2.
    natural: bool,
    /// `[heads, rows]` in place of `[rows, heads]`.
    heads_first: bool,
}

impl LseForm {
    /// Reads `lse_base` (`log2` or `ln`) and `lse_layout` (`NH` or `HN`).
    pub(crate) fn read(arguments: &Bound<'_>) -> Result<LseForm, ExecError> {
        Ok(LseForm {
            natural: is_second(arguments, "lse_base", ["log2", "ln"])?,
            heads_first: is_second(arguments, "lse_layout", ["NH", "HN"])?,
        })
    }

    /// Brings `[rows, heads]` of base 2 into this form.
    fn apply(self, lse: TensorBuf) -> Result<TensorBuf, ExecError> {
        if !self.natural && !self.heads_first {
            return Ok(lse);
        }
        let (rows, heads) = (lse.shape()[0], lse.shape()[1]);
        let mut values =
            lse.to_f32().map_err(|source| ExecError::Elements { argument: "lse".to_owned(), source })?;
        if self.natural {
            values.iter_mut().for_each(|value| *value *= LN_2);
        }
        if !self.heads_first {
            return output::rounded(DType::Float32, &[rows, heads], &values);
        }
        let column = |head| values.iter().skip(head).step_by(heads).copied();
        let values: Vec<f32> = (0..heads).flat_map(column).collect();
        output::rounded(DType::Float32, &[heads, rows], &values)
    }
}

fn is_second(arguments: &Bound<'_>, name: &str, [first, second]: [&str; 2]) -> Result<bool, ExecError> {
    match arguments.text(name)? {
        given if given == first => Ok(false),
        given if given == second => Ok(true),
        other => {
            let reason = format!("expected {first} or {second}");
            Err(operand::wrong_value(name, other, reason))
        }
    }
}

/// Looks at `out`: where the output goes, which has this dtype unless `out` says otherwise.
pub(crate) fn target(arguments: &Bound<'_>, operands: &Operands, dtype: DType) -> Result<Target, ExecError> {
    operands.check_output()?;
    Target::read(arguments, "out", dtype, &operands.output_shape())
}

/// Puts the output `[rows, heads, d]` into its target and returns it; with `return_lse` together with the
/// log-sum-exp, in `lse` if it was given.
pub(crate) fn finish(
    arguments: &mut Bound<'_>,
    target: Target,
    attended: Attended,
    form: LseForm,
) -> Result<OwnedValue, ExecError> {
    let out = target.finish(arguments, attended.output)?;
    if !arguments.flag("return_lse")? {
        return Ok(out);
    }
    if let Some(lse) = arguments.optional_tensor("lse")?
        && lse.dtype() != DType::Float32
    {
        return Err(operand::wrong_dtype("lse", "a tensor of float32", lse.dtype()));
    }
    let lse = form.apply(attended.lse)?;
    let target = Target::read(arguments, "lse", DType::Float32, lse.shape())?;
    let lse = target.finish(arguments, lse)?;
    Ok(Value::tuple(vec![out, lse]))
}
