//! Gated activations.

use std::f32::consts::FRAC_1_SQRT_2;

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{Activation, Gate};

use crate::numbers;
use crate::rows::Rows;

/// Solves [`Gate`].
pub(crate) fn gate(problem: &Gate<'_>) -> Result<TensorBuf, ExecError> {
    let activation = match problem.activation {
        Activation::Silu => silu,
        Activation::Gelu => gelu,
        Activation::GeluTanh => gelu_tanh,
    };
    let mut rows = Rows::of(problem.input, 2 * problem.half);
    let mut gated = Vec::with_capacity(rows.values.len() / 2);
    for row in rows.iter() {
        let (gates, values) = row.split_at(problem.half);
        gated.extend(gates.iter().zip(values).map(|(&x, y)| activation(x) * y));
    }
    rows.shape.splice(rows.shape.len() - 1.., [problem.half]);
    numbers::rounded(problem.dtype, &rows.shape, &gated)
}

fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// Written with `erfc(-z) = 1 + erf(z)`, which keeps the digits that the sum loses where `x` is negative.
fn gelu(x: f32) -> f32 {
    0.5 * x * libm::erfcf(-x * FRAC_1_SQRT_2)
}

/// Written with `2 / (1 + e^-2z) = 1 + tanh z`, for the reason that [`gelu`] has.
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let z = SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
    x / (1.0 + (-2.0 * z).exp())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};

    use callbox_core::DType;
    use proptest::prelude::*;

    use crate::trial::{call, check_rounded, exact, float_dtype, random, scattered, vector};

    /// The series of the error function about zero.
    fn erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        2.0 / PI.sqrt() * sum
    }

    type Formula = fn(f64) -> f64;

    const FORMULAS: [(&str, Formula); 3] = [
        ("silu_and_mul", |x| x / (1.0 + (-x).exp())),
        ("gelu_and_mul", |x| x / 2.0 * (1.0 + erf(x * FRAC_1_SQRT_2))),
        ("gelu_tanh_and_mul", |x| x / 2.0 * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())),
    ];

    proptest! {
        // The two forms of gelu differ by up to 4.7e-4, far more than the slack.
        #[test]
        fn the_first_half_passes_through_the_function(
            leading in prop::collection::vec(1usize..4, 0..3),
            half in 1usize..40,
            dtype in float_dtype(),
            seed: u64,
        ) {
            let mut shape = leading;
            shape.push(2 * half);
            let input = random(dtype, &shape, seed);
            for (function, formula) in FORMULAS {
                let expected: Vec<f64> = exact(&input)
                    .chunks(2 * half)
                    .flat_map(|row| (0..half).map(|i| formula(row[i]) * row[half + i]))
                    .collect();
                let actual = call(function).with(scattered(&input)).tensor();
                prop_assert_eq!(&actual.shape()[..shape.len() - 1], &shape[..shape.len() - 1]);
                check_rounded(&actual, &expected, 1e-6);
            }
        }
    }

    #[test]
    fn gelu_is_the_error_function_and_gelu_tanh_is_not() {
        let input = || vector(DType::Float32, &[2.0, 1.0]);
        let with_erf = exact(&call("gelu_and_mul").with(input()).tensor())[0];
        let with_tanh = exact(&call("gelu_tanh_and_mul").with(input()).tensor())[0];
        assert!((with_erf - 1.954_499_736).abs() < 1e-6, "{with_erf}");
        assert!((with_tanh - 1.954_597_695).abs() < 1e-6, "{with_tanh}");
    }

    #[test]
    fn the_function_is_not_rounded_before_the_product() {
        // silu(1) is 0.731058..; bfloat16 holds 0.73046875 next to it, and 129 times that rounds elsewhere.
        let input = vector(DType::BFloat16, &[1.0, 129.0]);
        let actual = call("silu_and_mul").with(input).tensor();
        check_rounded(&actual, &[129.0 / (1.0 + (-1f64).exp())], 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let odd = vector(DType::Float16, &[1.0, 2.0, 3.0]);
        assert_eq!(
            call("silu_and_mul").with(odd).error(),
            "argument `input` has shape [3], expected [.., 2h]: an even last dimension"
        );
        let input = random(DType::Float16, &[2, 8], 1);
        assert_eq!(
            call("gelu_and_mul").with(input.clone()).with(input).error(),
            "argument `out` has shape [2, 8], expected [2, 4]"
        );
    }
}
