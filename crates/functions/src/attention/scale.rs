//! Factors of queries, keys and values: one for all heads, or one for each.

use callbox_core::{Bound, DType, DTypeKind, ExecError, Int, OwnedValue, Value};

use super::problem::Operands;
use crate::factors::Factors;
use crate::operand;

/// Factors of the heads of queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct HeadScales<'a> {
    /// One for each query head.
    pub q: Factors<'a>,
    /// One for each kv head.
    pub k: Factors<'a>,
    /// One for each kv head.
    pub v: Factors<'a>,
}

/// Reads a number, a tensor of one element or a tensor `[heads]`; None is 1.
pub(crate) fn per_head<'a>(
    name: &str,
    value: &'a OwnedValue,
    heads: usize,
) -> Result<Factors<'a>, ExecError> {
    match value {
        Value::None => Ok(Factors::Same(1.0)),
        Value::Float(factor) => Ok(Factors::Same(*factor as f32)),
        Value::Int(Int::Small(factor)) => Ok(Factors::Same(*factor as f32)),
        Value::Tensor(tensor) if tensor.dtype().kind() != DTypeKind::Float => {
            Err(operand::wrong_dtype(name, "a tensor of floats", tensor.dtype()))
        }
        Value::Tensor(tensor) if tensor.numel() == 1 => {
            let factor = tensor.to_f32();
            let factor =
                factor.map_err(|source| ExecError::Elements { argument: name.to_owned(), source })?;
            Ok(Factors::Same(factor[0]))
        }
        Value::Tensor(tensor) if tensor.shape() == [heads] => {
            operand::readable(name, tensor).map(Factors::Each)
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

impl<'a> HeadScales<'a> {
    /// Leaves everything as it is.
    pub(crate) const ONE: HeadScales<'static> =
        HeadScales { q: Factors::Same(1.0), k: Factors::Same(1.0), v: Factors::Same(1.0) };

    /// Reads the three positional arguments behind the named ones of `run`: factors of queries, keys, values.
    ///
    /// They count where the queries are fp8; otherwise such arguments belong to custom kernels and change
    /// nothing here.
    pub(crate) fn of_rest(
        arguments: &'a Bound<'_>,
        operands: &Operands,
    ) -> Result<HeadScales<'a>, ExecError> {
        let (queries, keys) = (operands.queries(), operands.keys());
        let rest: Vec<&'a OwnedValue> = arguments.rest().take(3).collect();
        match rest[..] {
            [q, k, v] if is_fp8(queries.tensor().dtype()) => Ok(HeadScales {
                q: per_head("args[0]", q, queries.heads())?,
                k: per_head("args[1]", k, keys.heads())?,
                v: per_head("args[2]", v, keys.heads())?,
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
