//! Factors of queries, keys and values: one for all heads, or one for each.

use callbox_core::{Bound, DType, DTypeKind, ExecError, Int, OwnedValue, Value};

use super::problem::Operands;
use crate::operand;

/// A factor that may differ from head to head.
#[derive(Clone, Debug)]
pub(crate) enum PerHead {
    Same(f32),
    Each(Vec<f32>),
}

impl PerHead {
    /// Reads a number, a tensor of one element or a tensor `[heads]`; None is 1.
    pub(crate) fn read(name: &str, value: &OwnedValue, heads: usize) -> Result<PerHead, ExecError> {
        match value {
            Value::None => Ok(PerHead::Same(1.0)),
            Value::Float(factor) => Ok(PerHead::Same(*factor as f32)),
            Value::Int(Int::Small(factor)) => Ok(PerHead::Same(*factor as f32)),
            Value::Tensor(tensor) if tensor.dtype().kind() != DTypeKind::Float => {
                Err(operand::wrong_dtype(name, "a tensor of floats", tensor.dtype()))
            }
            Value::Tensor(tensor) if tensor.numel() == 1 || tensor.shape() == [heads] => {
                let factors = tensor
                    .to_f32()
                    .map_err(|source| ExecError::Elements { argument: name.to_owned(), source })?;
                match factors[..] {
                    [factor] => Ok(PerHead::Same(factor)),
                    _ => Ok(PerHead::Each(factors)),
                }
            }
            Value::Tensor(tensor) => Err(operand::wrong_shape(
                name,
                tensor.shape(),
                format!("[{heads}], one factor for each head, or one element"),
            )),
            _ => Err(ExecError::ArgumentType {
                argument: name.to_owned(),
                expected: "a number or a tensor of factors",
                found: format!("value of type {}", value.type_name()),
            }),
        }
    }

    /// Returns the factor of one head.
    pub(crate) fn of(&self, head: usize) -> f32 {
        match self {
            PerHead::Same(factor) => *factor,
            PerHead::Each(factors) => factors[head],
        }
    }
}

/// Factors of the heads of queries, keys and values.
#[derive(Clone, Debug)]
pub(crate) struct HeadScales {
    pub(crate) q: PerHead,
    pub(crate) k: PerHead,
    pub(crate) v: PerHead,
}

impl HeadScales {
    /// Leaves everything as it is.
    pub(crate) const ONE: HeadScales =
        HeadScales { q: PerHead::Same(1.0), k: PerHead::Same(1.0), v: PerHead::Same(1.0) };

    /// Reads the three positional arguments behind the named ones of `run`: factors of queries, keys, values.
    ///
    /// They count where the queries are fp8; otherwise such arguments belong to custom kernels and change
    /// nothing here.
    pub(crate) fn of_rest(arguments: &Bound<'_>, operands: &Operands) -> Result<HeadScales, ExecError> {
        let (queries, keys) = (operands.queries(), operands.keys());
        let rest: Vec<&OwnedValue> = arguments.rest().take(3).collect();
        match rest[..] {
            [q, k, v] if is_fp8(queries.tensor().dtype()) => Ok(HeadScales {
                q: PerHead::read("args[0]", q, queries.heads())?,
                k: PerHead::read("args[1]", k, keys.heads())?,
                v: PerHead::read("args[2]", v, keys.heads())?,
            }),
            _ => Ok(HeadScales::ONE),
        }
    }
}

/// Returns the product of arguments that are each a number or a tensor of one element; None is 1.
pub(crate) fn product(arguments: &Bound<'_>, names: &[&str]) -> Result<f32, ExecError> {
    names.iter().try_fold(1.0, |product, name| Ok(product * arguments.optional_float(name)?.unwrap_or(1.0)))
}

/// Tells whether FlashInfer counts a dtype among the fp8 ones.
pub(crate) fn is_fp8(dtype: DType) -> bool {
    matches!(dtype, DType::Float8E4M3Fn | DType::Float8E5M2)
}
