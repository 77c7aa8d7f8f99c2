//! Merging attention states.

use callbox_core::{DType, ExecError};
use callbox_functions::{Merge, Merged, States};

use crate::numbers;

/// Solves [`Merge`].
pub(crate) fn merge(problem: &Merge<'_>) -> Result<Merged, ExecError> {
    let Merge { heads, width, .. } = *problem;
    let mut rows = Rows::new(problem);
    match problem.states {
        States::Pair(states) => {
            let [(v_a, s_a), (v_b, s_b)] =
                states.map(|state| (numbers::values(state.v), numbers::values(state.s)));
            for place in 0..problem.rows * heads {
                let at = place * width..(place + 1) * width;
                let states = [(s_a[place], &v_a[at.clone()]), (s_b[place], &v_b[at])];
                rows.push(states.into_iter(), width);
            }
        }
        States::Stacked { count, v, s } => {
            let (v, s) = (numbers::values(v), numbers::values(s));
            for row_and_head in 0..problem.rows * heads {
                let (row, head) = (row_and_head / heads, row_and_head % heads);
                let parts = (0..count).map(|state| {
                    let place = (row * count + state) * heads + head;
                    (s[place], &v[place * width..(place + 1) * width])
                });
                rows.push(parts, width);
            }
        }
    }
    rows.finish(problem)
}

/// Merged states, row after row.
struct Rows {
    v: Vec<f32>,
    s: Vec<f32>,
}

impl Rows {
    fn new(problem: &Merge<'_>) -> Rows {
        let rows = problem.rows * problem.heads;
        Rows { v: Vec::with_capacity(rows * problem.width), s: Vec::with_capacity(rows) }
    }

    /// Merges the states `(s, v)` of one head, `v` of `width` elements.
    fn push<'a>(&mut self, states: impl Iterator<Item = (f32, &'a [f32])> + Clone, width: usize) {
        let start = self.v.len();
        self.v.resize(start + width, 0.0);
        let greatest = states.clone().map(|(s, _)| s).fold(f32::NEG_INFINITY, f32::max);
        if greatest == f32::NEG_INFINITY {
            self.s.push(f32::NEG_INFINITY);
            return;
        }
        let mut total = 0.0;
        for (s, v) in states {
            let weight = (s - greatest).exp2();
            total += weight;
            self.v[start..].iter_mut().zip(v).for_each(|(sum, x)| *sum += weight * x);
        }
        self.v[start..].iter_mut().for_each(|sum| *sum /= total);
        self.s.push(greatest + total.log2());
    }

    fn finish(self, problem: &Merge<'_>) -> Result<Merged, ExecError> {
        let shape = [problem.rows, problem.heads, problem.width];
        Ok(Merged {
            v: numbers::rounded(problem.dtype, &shape, &self.v)?,
            s: numbers::rounded(DType::Float32, &shape[..2], &self.s)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{call, check_rounded_within, exact, float_dtype, random, scattered, tensor};

    /// The mean of `v` `[states, width]` with weights `2^s`, and the base-2 logarithm of their sum, in f64.
    fn naive(v: &[&[f64]], s: &[f64]) -> (Vec<f64>, f64) {
        let total: f64 = s.iter().map(|s| s.exp2()).sum();
        let mean = |i: usize| v.iter().zip(s).map(|(v, s)| s.exp2() * v[i]).sum::<f64>() / total;
        ((0..v[0].len()).map(mean).collect(), total.log2())
    }

    proptest! {
        #[test]
        fn states_merge_by_the_powers_of_two_of_their_s(
            (n, states, heads, width) in (1usize..4, 1usize..5, 1usize..4, 1usize..20),
            dtype in float_dtype(),
            seed: u64,
        ) {
            let v = random(dtype, &[n, states, heads, width], seed);
            let s = random(DType::Float32, &[n, states, heads], !seed);
            let (v_values, s_values) = (exact(&v), exact(&s));
            let mut expected = (Vec::new(), Vec::new());
            for row in 0..n {
                for head in 0..heads {
                    let places: Vec<_> = (0..states).map(|state| (row * states + state) * heads + head).collect();
                    let v: Vec<_> = places.iter().map(|place| &v_values[place * width..(place + 1) * width]).collect();
                    let s: Vec<_> = places.iter().map(|&place| s_values[place]).collect();
                    let (mean, logarithm) = naive(&v, &s);
                    expected.0.extend(mean);
                    expected.1.push(logarithm);
                }
            }
            let (merged, logarithm) = call("merge_states").with(scattered(&v)).with(scattered(&s)).pair();
            prop_assert_eq!((merged.dtype(), merged.shape()), (dtype, &[n, heads, width][..]));
            prop_assert_eq!((logarithm.dtype(), logarithm.shape()), (DType::Float32, &[n, heads][..]));
            check_rounded_within(&merged, &expected.0, 3e-6);
            check_rounded_within(&logarithm, &expected.1, 1e-6);
        }

        #[test]
        fn two_states_merge_as_any_number_does(
            (n, heads, width) in (1usize..4, 1usize..4, 1usize..20),
            dtype in float_dtype(),
            seed: u64,
        ) {
            let v = random(dtype, &[n, 2, heads, width], seed);
            let s = random(DType::Float32, &[n, 2, heads], !seed);
            let halves = |tensor: &callbox_core::TensorBuf| {
                let layout = tensor.layout();
                let (mut shape, mut strides) = (layout.shape().to_vec(), layout.strides().to_vec());
                let step = strides[1];
                shape.remove(1);
                strides.remove(1);
                let half = |i: usize| callbox_core::Layout::new(&shape, &strides, i * step).unwrap();
                [0, 1].map(|i| tensor.with_layout(half(i)).unwrap())
            };
            let ([v_a, v_b], [s_a, s_b]) = (halves(&v), halves(&s));
            let two = call("merge_state").with(v_a).with(s_a).with(v_b).with(s_b).pair();
            let all = call("merge_states").with(v).with(s).pair();
            prop_assert_eq!(two.0.to_bytes(), all.0.to_bytes());
            prop_assert_eq!(two.1.to_bytes(), all.1.to_bytes());
        }
    }

    #[test]
    fn an_empty_state_leaves_the_other_and_two_give_zero() {
        let v = |value| tensor(DType::Float16, &[1, 1, 2], &[value, value]);
        let s = |value| tensor(DType::Float32, &[1, 1], &[value]);
        let empty = f32::NEG_INFINITY;
        for (s_a, s_b, expected_v, expected_s) in
            [(empty, 3.0, 5.0, 3.0), (-2.0, empty, 4.0, -2.0), (empty, empty, 0.0, f64::NEG_INFINITY)]
        {
            let (merged, logarithm) =
                call("merge_state").with(v(4.0)).with(s(s_a)).with(v(5.0)).with(s(s_b)).pair();
            assert_eq!(exact(&merged), [expected_v; 2]);
            assert_eq!(exact(&logarithm), [expected_s]);
        }
    }

    #[test]
    fn no_states_at_all_are_empty_and_cannot_ask_for_any_size() {
        let none = |n, heads, width| {
            let v = tensor(DType::Float16, &[n, 0, heads, width], &[]);
            call("merge_states").with(v).with(tensor(DType::Float32, &[n, 0, heads], &[]))
        };
        let (merged, logarithm) = none(2, 3, 4).pair();
        assert_eq!(exact(&merged), [0.0; 24]);
        assert_eq!(exact(&logarithm), [f64::NEG_INFINITY; 6]);
        assert_eq!(
            none(1 << 30, 1 << 20, 8).error(),
            "the result would have 1073741824 x 1048576 x 8 elements"
        );
        assert_eq!(none(1 << 40, 0, 8).pair().0.shape(), [1 << 40, 0, 8]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let v = |heads| random(DType::Float16, &[2, heads, 4], 1);
        let s = |heads| random(DType::Float32, &[2, heads], 1);
        assert_eq!(
            call("merge_state").with(v(3)).with(s(3)).with(v(2)).with(s(3)).error(),
            "argument `v_b` has shape [2, 2, 4], expected [2, 3, 4], the shape of `v_a`"
        );
        assert_eq!(
            call("merge_state").with(v(3)).with(s(3)).with(v(3)).with(s(1)).error(),
            "argument `s_b` has shape [2, 1], expected [2, 3], [n, heads] of `v_a`"
        );
        assert_eq!(
            call("merge_states").with(v(3)).with(s(3)).error(),
            "argument `v` has shape [2, 3, 4], expected [n, states, heads, d]"
        );
    }
}
