//! Merging attention states: each is a weighted mean `v` with the base-2 logarithm `s` of its weight (Ye et
//! al., "Cascade Inference", 2024; the sums are those of Milakov and Gimelshein, "Online normalizer
//! calculation for softmax", 2018).

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::kernels::{Kernel, Kernels};
use crate::table::Function;
use crate::{operand, output};

/// Merging the states of each row and head into one.
///
/// With `m = max(s)` and `w = 2^(s - m)` over the states: `v = sum w v / sum w`, `s = m + log2(sum w)`. States
/// that are all empty (`s = -inf`), or none, give `v = 0` and `s = -inf`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Merge<'a> {
    /// The states.
    pub states: States<'a>,
    /// Rows.
    pub rows: usize,
    /// Heads of a row.
    pub heads: usize,
    /// Elements of a head.
    pub width: usize,
    /// What the merged `v` is rounded to; `s` is float32.
    pub dtype: DType,
}

/// Where the states lie that are merged.
#[derive(Clone, Copy, Debug)]
pub enum States<'a> {
    /// Two, each in tensors of its own.
    Pair([State<'a>; 2]),
    /// Any number, side by side.
    Stacked {
        /// Number of states.
        count: usize,
        /// Floats `[rows, count, heads, width]`.
        v: &'a TensorBuf,
        /// Floats `[rows, count, heads]`.
        s: &'a TensorBuf,
    },
}

/// The state of each row and head.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The mean: floats `[rows, heads, width]`.
    pub v: &'a TensorBuf,
    /// The base-2 logarithm of its weight: floats `[rows, heads]`.
    pub s: &'a TensorBuf,
}

/// The answer to a [`Merge`].
#[derive(Clone, Debug)]
pub struct Merged {
    /// `[rows, heads, width]` in the dtype of the problem.
    pub v: TensorBuf,
    /// Float32 `[rows, heads]`.
    pub s: TensorBuf,
}

const STATE: Contract = Contract { writes: &[], results: &[ResultRule::Values, ResultRule::LogSumExp] };

pub(crate) const ROWS: &[Function] = &[
    Function::new(Kernel::Merge, STATE, "merge_state", "v_a, s_a, v_b, s_b", merge_state),
    Function::new(Kernel::Merge, STATE, "merge_states", "v, s", merge_states),
];

/// Merges two states; returns `(v, s)`.
///
/// `v_a`, `v_b` `[n, heads, d]`, `s_a`, `s_b` `[n, heads]` f32, base 2. The merged `v` has the dtype of `v_a`, `s`
/// is f32.
fn merge_state(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let shape: [usize; 3] = operand::sizes(arguments, "v_a", "[n, heads, d]")?;
    let [rows, heads, width] = shape;
    let v_a = operand::values(arguments, "v_a")?;
    let v_b = operand::values_of(arguments, "v_b", &shape, "the shape of `v_a`")?;
    let s_a = operand::values_of(arguments, "s_a", &shape[..2], "[n, heads] of `v_a`")?;
    let s_b = operand::values_of(arguments, "s_b", &shape[..2], "[n, heads] of `v_a`")?;
    let states = States::Pair([State { v: v_a, s: s_a }, State { v: v_b, s: s_b }]);
    solve(kernels, &Merge { states, rows, heads, width, dtype: v_a.dtype() })
}

/// Merges any number of states over dimension 1; returns `(v, s)`.
///
/// `v` `[n, states, heads, d]`, `s` `[n, states, heads]`; the results are `[n, heads, d]` and `[n, heads]`, as
/// [`merge_state`] has them.
fn merge_states(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let shape: [usize; 4] = operand::sizes(arguments, "v", "[n, states, heads, d]")?;
    let [rows, count, heads, width] = shape;
    let v = operand::values(arguments, "v")?;
    let s = operand::values_of(arguments, "s", &shape[..3], "[n, states, heads] of `v`")?;
    operand::result_numel(&[rows, heads, width], v.numel())?;
    operand::result_numel(&[rows, heads], v.numel())?;
    let states = States::Stacked { count, v, s };
    solve(kernels, &Merge { states, rows, heads, width, dtype: v.dtype() })
}

fn solve(kernels: &mut dyn Kernels, problem: &Merge<'_>) -> Result<OwnedValue, ExecError> {
    let shape = [problem.rows, problem.heads, problem.width];
    let Merged { v, s } = kernels.merge(problem)?;
    let v = output::checked(v, problem.dtype, &shape)?;
    let s = output::checked(s, DType::Float32, &shape[..2])?;
    Ok(Value::tuple(vec![Value::Tensor(v), Value::Tensor(s)]))
}
