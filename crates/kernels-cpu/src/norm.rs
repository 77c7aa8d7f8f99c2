//! Normalisation over the last dimension, which has `d` elements.
//!
//! Leading dimensions are free. Everything is computed in f32 and rounded once to the dtype of `input`.

use callbox_core::{Bound, Contract, ExecError, OwnedValue, ResultRule, Value};

use crate::rows::Rows;
use crate::table::{Function, Run};
use crate::{operand, output, sum};

pub(crate) const ROWS: &[Function] = &[
    Function {
        name: "rmsnorm",
        signature: "input, weight, eps=1e-6, out=None, enable_pdl=None",
        contract: writing(&["out"]),
        run: Run::Function(rmsnorm),
    },
    Function {
        name: "gemma_rmsnorm",
        signature: "input, weight, eps=1e-6, out=None, enable_pdl=None",
        contract: writing(&["out"]),
        run: Run::Function(gemma_rmsnorm),
    },
    Function {
        name: "fused_add_rmsnorm",
        signature: "input, residual, weight, eps=1e-6, enable_pdl=None",
        contract: writing(&["input", "residual"]),
        run: Run::Function(fused_add_rmsnorm),
    },
    Function {
        name: "layernorm",
        signature: "input, gemma, beta, eps=1e-6",
        contract: writing(&[]),
        run: Run::Function(layernorm),
    },
];

const fn writing(writes: &'static [&'static str]) -> Contract {
    Contract { writes, results: &[ResultRule::Values] }
}

/// `x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
///
/// `input` `[.., d]`, `weight` `[d]`; the result is like `input`.
fn rmsnorm(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    scaled_rmsnorm(arguments, |weight| weight)
}

/// [`rmsnorm`] with `1 + weight` for `weight`, as the Gemma models store it.
fn gemma_rmsnorm(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    scaled_rmsnorm(arguments, |weight| 1.0 + weight)
}

fn scaled_rmsnorm(arguments: &mut Bound<'_>, factor: fn(f32) -> f32) -> Result<OwnedValue, ExecError> {
    let mut input = Rows::read(arguments, "input")?;
    let weight: Vec<f32> = input.weights(arguments, "weight")?.into_iter().map(factor).collect();
    let eps = arguments.float("eps")?;
    input.iter_mut().for_each(|row| divide_by_root_mean_square(row, &weight, eps));
    output::finish(arguments, "out", input.dtype, &input.shape, &input.values)
}

/// `s = input + residual; residual = s; input = rmsnorm(s)`, in place; returns None.
///
/// `input` and `residual` `[.., d]`, `weight` `[d]`. The norm is taken of the sum before that is rounded.
fn fused_add_rmsnorm(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut input = Rows::read(arguments, "input")?;
    let residual = operand::values_of(arguments, "residual", &input.shape, "the shape of `input`")?;
    let weight = input.weights(arguments, "weight")?;
    let eps = arguments.float("eps")?;
    input.values.iter_mut().zip(&residual).for_each(|(x, r)| *x += r);
    output::overwrite(arguments, "residual", &input.values)?;
    input.iter_mut().for_each(|row| divide_by_root_mean_square(row, &weight, eps));
    output::overwrite(arguments, "input", &input.values)?;
    Ok(Value::None)
}

fn divide_by_root_mean_square(row: &mut [f32], weight: &[f32], eps: f32) {
    let mean_square = sum::sum(row, |x| x * x) / row.len() as f32;
    let scale = 1.0 / (mean_square + eps).sqrt();
    row.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * scale * w);
}

/// `(x - mean) / sqrt(variance + eps) * gemma + beta` (Ba, Kiros and Hinton, "Layer Normalization", 2016).
///
/// `input` `[.., d]`, `gemma` (the weight) and `beta` `[d]`; the result is like `input`.
fn layernorm(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut input = Rows::read(arguments, "input")?;
    let gemma = input.weights(arguments, "gemma")?;
    let beta = input.weights(arguments, "beta")?;
    let eps = arguments.float("eps")?;
    for row in input.iter_mut() {
        let width = row.len() as f32;
        let mean = sum::sum(row, |x| x) / width;
        let variance = sum::sum(row, |x| (x - mean) * (x - mean)) / width;
        let scale = 1.0 / (variance + eps).sqrt();
        for ((x, gemma), beta) in row.iter_mut().zip(&gemma).zip(&beta) {
            *x = (*x - mean) * scale * gemma + beta;
        }
    }
    let normed = output::rounded(input.dtype, &input.shape, &input.values)?;
    Ok(Value::Tensor(normed))
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, TensorBuf};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{
        call, check_rounded, check_rounded_within, exact, float_dtype, random, scattered, tensor, vector,
    };

    /// Each row, divided by its root mean square and multiplied by `factor`, in f64.
    fn naive_rmsnorm(rows: &[f64], factor: &[f64], eps: f64) -> Vec<f64> {
        let normed = rows.chunks(factor.len()).flat_map(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            let factors = row.iter().zip(factor);
            factors.map(move |(x, factor)| x / (mean + eps).sqrt() * factor)
        });
        normed.collect()
    }

    fn shape() -> impl Strategy<Value = Vec<usize>> {
        (prop::collection::vec(1usize..4, 0..3), 1usize..70).prop_map(|(mut shape, width)| {
            shape.push(width);
            shape
        })
    }

    proptest! {
        #[test]
        fn rmsnorm_and_gemma_rmsnorm_follow_their_formula(
            shape in shape(),
            (dtype, weight_dtype) in (float_dtype(), float_dtype()),
            eps in prop::sample::select(vec![1e-6f32, 1e-5, 1e-2]),
            seed: u64,
        ) {
            let input = random(dtype, &shape, seed);
            let weight = random(weight_dtype, &shape[shape.len() - 1..], !seed);
            let factor = exact(&weight);
            let plain = call("rmsnorm").with(scattered(&input)).with(weight.clone()).with(eps);
            check_rounded(&plain.tensor(), &naive_rmsnorm(&exact(&input), &factor, eps.into()), 1e-6);

            let factor: Vec<f64> = factor.into_iter().map(|w| 1.0 + w).collect();
            let gemma = call("gemma_rmsnorm").with(input.clone()).with(weight).named("eps", eps);
            check_rounded(&gemma.tensor(), &naive_rmsnorm(&exact(&input), &factor, eps.into()), 1e-6);
        }

        #[test]
        fn fused_add_rmsnorm_writes_the_sum_and_its_norm(
            shape in shape(),
            (dtype, residual_dtype) in (float_dtype(), float_dtype()),
            seed: u64,
        ) {
            let input = random(dtype, &shape, seed);
            let residual = random(residual_dtype, &shape, seed ^ 1);
            let weight = random(dtype, &shape[shape.len() - 1..], !seed);
            let sums: Vec<f64> = exact(&input).iter().zip(exact(&residual)).map(|(x, r)| x + r).collect();
            let written = call("fused_add_rmsnorm")
                .with(scattered(&input))
                .with(scattered(&residual))
                .with(weight.clone())
                .in_place();
            let [Value::Tensor(input), Value::Tensor(residual), _] = &written[..] else {
                panic!("{written:?}");
            };
            check_rounded(residual, &sums, 1e-7);
            // The norm of the sum before its rounding: a second rounding would show in half of the elements.
            check_rounded(input, &naive_rmsnorm(&sums, &exact(&weight), 1e-6), 1e-6);
        }

        #[test]
        fn layernorm_follows_its_formula(shape in shape(), dtype in float_dtype(), seed: u64) {
            let width = shape[shape.len() - 1];
            let input = random(dtype, &shape, seed);
            let (gemma, beta) = (random(DType::Float32, &[width], !seed), random(DType::Float32, &[width], seed ^ 1));
            let (weight, bias) = (exact(&gemma), exact(&beta));
            let expected: Vec<f64> = exact(&input)
                .chunks(width)
                .flat_map(|row| {
                    let mean = row.iter().sum::<f64>() / width as f64;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    let parts = row.iter().zip(&weight).zip(&bias);
                    parts.map(move |((x, w), b)| (x - mean) / (variance + 1e-6).sqrt() * w + b)
                })
                .collect();
            let actual = call("layernorm").with(scattered(&input)).with(gemma).with(beta).tensor();
            // Narrow rows may be so even that dividing by their deviation blows up the error of their mean.
            check_rounded_within(&actual, &expected, if width < 8 { 5e-3 } else { 1e-5 });
        }
    }

    #[test]
    fn eps_is_a_millionth_unless_given() {
        let tiny = vector(DType::Float32, &[1e-3, 1e-3]);
        let ones = vector(DType::Float32, &[1.0, 1.0]);
        let zeros = vector(DType::Float32, &[0.0, 0.0]);
        let root_of_half = 0.5f64.sqrt();
        for function in ["rmsnorm", "gemma_rmsnorm"] {
            let weight = if function == "rmsnorm" { &ones } else { &zeros };
            let normed = call(function).with(tiny.clone()).with(weight.clone()).tensor();
            check_rounded(&normed, &[root_of_half; 2], 1e-6);
        }
        let apart = vector(DType::Float32, &[1e-3, -1e-3]);
        let normed = call("layernorm").with(apart).with(ones).with(zeros).tensor();
        check_rounded(&normed, &[root_of_half, -root_of_half], 1e-6);
    }

    #[test]
    fn out_is_filled_in_its_own_dtype_and_layout() {
        let input = random(DType::Float16, &[3, 8], 1);
        let weight = random(DType::Float16, &[8], 2);
        let out = scattered(&random(DType::Float32, &[3, 8], 3));
        let normed =
            call("rmsnorm").with(input.clone()).with(weight.clone()).named("out", out.clone()).tensor();
        assert_eq!((normed.dtype(), normed.layout()), (out.dtype(), out.layout()));
        check_rounded(&normed, &naive_rmsnorm(&exact(&input), &exact(&weight), 1e-6), 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let input = || random(DType::Float16, &[2, 8], 1);
        let weight = |len| random(DType::Float16, &[len], 2);
        assert_eq!(
            call("rmsnorm").with(input()).with(weight(7)).error(),
            "argument `weight` has shape [7], expected [8], the last dimension of `input`"
        );
        assert_eq!(
            call("rmsnorm").with(input()).with(weight(8)).named("out", weight(8)).error(),
            "argument `out` has shape [8], expected [2, 8]"
        );
        assert_eq!(
            call("fused_add_rmsnorm").with(input()).with(weight(8)).with(weight(8)).error(),
            "argument `residual` has shape [8], expected [2, 8], the shape of `input`"
        );
        assert_eq!(
            call("layernorm").with(input()).with(weight(8)).with(weight(1)).error(),
            "argument `beta` has shape [1], expected [8], the last dimension of `input`"
        );
        let no_dimension: TensorBuf = tensor(DType::Float32, &[], &[1.0]);
        assert_eq!(
            call("gemma_rmsnorm").with(no_dimension).with(weight(1)).error(),
            "argument `input` has shape [], expected at least one dimension"
        );
        let integers = tensor(DType::Int32, &[1], &[1.0]);
        assert_eq!(
            call("rmsnorm").with(integers).with(weight(1)).error(),
            "argument `input` is a tensor of torch.int32, expected a tensor of floats"
        );
    }
}
