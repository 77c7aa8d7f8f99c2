//! What `run` gives back: the output, and the log-sum-exp where it is asked for.

use std::f32::consts::LN_2;

use callbox_core::{Bound, DType, ExecError, OwnedValue, Value};

use super::kernel::Attention;
use crate::{operand, output};

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
    fn apply(self, mut lse: Vec<f32>, heads: usize) -> Vec<f32> {
        if self.natural {
            lse.iter_mut().for_each(|value| *value *= LN_2);
        }
        if self.heads_first {
            let column = |head| lse.iter().skip(head).step_by(heads).copied();
            lse = (0..heads).flat_map(column).collect();
        }
        lse
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

/// Rounds the output `[rows, heads, d]` once, into `out` if it was given, and returns it; with `return_lse`
/// together with the log-sum-exp, in `lse` if it was given.
pub(crate) fn finish(
    arguments: &mut Bound<'_>,
    attention: Attention,
    dtype: DType,
    shape: [usize; 3],
    form: LseForm,
) -> Result<OwnedValue, ExecError> {
    let out = output::finish(arguments, "out", dtype, &shape, &attention.output)?;
    if !arguments.flag("return_lse")? {
        return Ok(out);
    }
    if let Some(lse) = arguments.optional_tensor("lse")?
        && lse.dtype() != DType::Float32
    {
        return Err(operand::wrong_dtype("lse", "a tensor of float32", lse.dtype()));
    }
    let [rows, heads, _] = shape;
    let shape = if form.heads_first { [heads, rows] } else { [rows, heads] };
    let lse = form.apply(attention.lse, heads);
    let lse = output::finish(arguments, "lse", DType::Float32, &shape, &lse)?;
    Ok(Value::tuple(vec![out, lse]))
}
