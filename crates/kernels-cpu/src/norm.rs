//! Normalisation of rows.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{AddedAndNormed, FusedAddRmsNorm, Gain, LayerNorm, RmsNorm};

use crate::numbers;
use crate::rows::Rows;
use crate::sum;

/// Solves [`RmsNorm`].
pub(crate) fn rms_norm(problem: &RmsNorm<'_>) -> Result<TensorBuf, ExecError> {
    let mut rows = Rows::of(problem.input, problem.width);
    let mut weight = numbers::values(problem.weight);
    match problem.gain {
        Gain::Weight => {}
        Gain::OnePlusWeight => weight.iter_mut().for_each(|weight| *weight += 1.0),
    }
    rows.iter_mut().for_each(|row| divide_by_root_mean_square(row, &weight, problem.eps));
    rows.rounded(problem.dtype)
}

/// Solves [`FusedAddRmsNorm`].
pub(crate) fn fused_add_rms_norm(problem: &FusedAddRmsNorm<'_>) -> Result<AddedAndNormed, ExecError> {
    let mut rows = Rows::of(problem.input, problem.width);
    let weight = numbers::values(problem.weight);
    rows.values.iter_mut().zip(numbers::values(problem.residual)).for_each(|(x, r)| *x += r);
    let sum = rows.rounded(problem.residual.dtype())?;
    rows.iter_mut().for_each(|row| divide_by_root_mean_square(row, &weight, problem.eps));
    Ok(AddedAndNormed { sum, normed: rows.rounded(problem.input.dtype())? })
}

fn divide_by_root_mean_square(row: &mut [f32], weight: &[f32], eps: f32) {
    let mean_square = sum::sum(row, |x| x * x) / row.len() as f32;
    let scale = 1.0 / (mean_square + eps).sqrt();
    row.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * scale * w);
}

/// Solves [`LayerNorm`].
pub(crate) fn layer_norm(problem: &LayerNorm<'_>) -> Result<TensorBuf, ExecError> {
    let mut rows = Rows::of(problem.input, problem.width);
    let (gamma, beta) = (numbers::values(problem.gamma), numbers::values(problem.beta));
    for row in rows.iter_mut() {
        let width = row.len() as f32;
        let mean = sum::sum(row, |x| x) / width;
        let variance = sum::sum(row, |x| (x - mean) * (x - mean)) / width;
        let scale = 1.0 / (variance + problem.eps).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(&gamma).zip(&beta) {
            *x = (*x - mean) * scale * gamma + beta;
        }
    }
    rows.rounded(problem.dtype)
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, TensorBuf, Value};
    use proptest::prelude::*;

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
