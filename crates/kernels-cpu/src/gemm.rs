//! Products of matrices in 16 and 8 bits.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{FactorOrder, Product, ProductSizes};
use rayon::prelude::*;

use crate::matmul::{Matrix, sgemm};
use crate::numbers;

/// Rows of a product that one thread computes at a time.
const PANEL: usize = 128;

/// Solves [`Product`].
pub(crate) fn multiply(problem: &Product<'_>) -> Result<TensorBuf, ExecError> {
    let mut a = numbers::values(problem.a);
    let mut b = numbers::values(problem.b);
    scale(&mut a, problem.a_scale);
    scale(&mut b, problem.b_scale);
    let mut product = product(problem.sizes, &a, &b, problem.order);
    scale(&mut product, problem.alpha);
    let ProductSizes { batch, m, n, .. } = problem.sizes;
    if let Some(bias) = problem.bias {
        let bias = numbers::values(bias);
        for row in product.chunks_exact_mut(n.max(1)) {
            row.iter_mut().zip(&bias).for_each(|(x, bias)| *x += bias);
        }
    }
    let shape = [batch, m, n];
    numbers::rounded(problem.dtype, &shape[3 - problem.a.shape().len()..], &product)
}

/// Most products are not scaled: they are not walked through for a factor of 1.
fn scale(values: &mut [f32], factor: f32) {
    if factor != 1.0 {
        values.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Multiplies `a` `[batch, m, k]` by `b`; returns `[batch, m, n]`.
///
/// The result does not depend on the number of threads: each element is summed by one.
///
/// # Panics
///
/// If a factor has too few values.
pub(crate) fn product(sizes: ProductSizes, a: &[f32], b: &[f32], order: FactorOrder) -> Vec<f32> {
    let ProductSizes { batch, m, k, n } = sizes;
    let mut product = vec![0.0; batch * m * n];
    if product.is_empty() || k == 0 {
        return product;
    }
    let matrices = product.par_chunks_mut(m * n).zip(a.par_chunks(m * k));
    matrices.zip(b.par_chunks(k * n)).for_each(|((product, a), b)| {
        let b = match order {
            FactorOrder::KByN => Matrix::row_major(b, k, n),
            FactorOrder::NByK => Matrix::row_major(b, n, k).transposed(),
        };
        let panels = product.par_chunks_mut(PANEL * n).zip(a.par_chunks(PANEL * k));
        panels.for_each(|(product, a)| sgemm(Matrix::row_major(a, a.len() / k, k), b, product));
    });
    product
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, TensorBuf};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{
        call, check_rounded_within, exact, float_dtype, random, scalar, scattered, tensor, transposed,
    };

    /// `a` `[batch, m, k]` times `b` `[batch, k, n]`, in f64.
    fn naive(a: &[f64], b: &[f64], ProductSizes { batch, m, k, n }: ProductSizes) -> Vec<f64> {
        let mut product = Vec::new();
        for i in 0..batch * m {
            let b = &b[i / m * k * n..];
            product.extend((0..n).map(|j| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f64>()));
        }
        product
    }

    fn sizes() -> impl Strategy<Value = ProductSizes> {
        (1usize..4, 1usize..12, 0usize..40, 1usize..12).prop_map(|(batch, m, k, n)| ProductSizes {
            batch,
            m,
            k,
            n,
        })
    }

    fn fp8() -> impl Strategy<Value = DType> {
        prop::sample::select(vec![DType::Float8E4M3Fn, DType::Float8E5M2])
    }

    /// The error of a sum of at most 40 products of values up to 3, scaled by at most 4: a unit in the last
    /// place of the largest sum.
    const ERROR: f64 = 40.0 * 9.0 * 4.0 / 16_777_216.0;

    proptest! {
        #[test]
        fn batches_of_fp8_are_scaled_and_multiplied(
            sizes in sizes(),
            (a_dtype, b_dtype, dtype) in (fp8(), fp8(), float_dtype()),
            scales in (0.1f32..2.0, 0.1f32..2.0),
            seed: u64,
        ) {
            let ProductSizes { batch, m, k, n } = sizes;
            let (a, b) = (random(a_dtype, &[batch, m, k], seed), random(b_dtype, &[batch, k, n], !seed));
            let scale = f64::from(scales.0) * f64::from(scales.1);
            let expected: Vec<_> = naive(&exact(&a), &exact(&b), sizes).iter().map(|x| x * scale).collect();
            let product = call("bmm_fp8")
                .with(a.clone())
                .with(scattered(&b))
                .with(scalar(scales.0))
                .with(tensor(DType::Float32, &[1], &[scales.1]))
                .with(dtype)
                .tensor();
            prop_assert_eq!((product.dtype(), product.shape()), (dtype, &[batch, m, n][..]));
            check_rounded_within(&product, &expected, ERROR);
        }

        #[test]
        fn mm_fp8_multiplies_by_the_transpose(
            sizes in sizes(),
            (a_dtype, b_dtype, dtype) in (fp8(), fp8(), float_dtype()),
            alpha in prop::option::of(0.1f32..2.0),
            seed: u64,
        ) {
            let sizes @ ProductSizes { m, k, n, .. } = ProductSizes { batch: 1, ..sizes };
            let (a, b) = (random(a_dtype, &[m, k], seed), random(b_dtype, &[n, k], !seed));
            let b_transposed = exact(&transposed(&b));
            let factor = f64::from(alpha.unwrap_or(1.0));
            let expected: Vec<_> = naive(&exact(&a), &b_transposed, sizes).iter().map(|x| x * factor).collect();
            let mut product = call("mm_fp8").with(scattered(&a)).with(b).named("backend", "cublas");
            if let Some(alpha) = alpha {
                product = product.named("alpha", scalar(alpha));
            }
            let product = product.named("out_dtype", dtype).tensor();
            prop_assert_eq!((product.dtype(), product.shape()), (dtype, &[m, n][..]));
            check_rounded_within(&product, &expected, ERROR);
        }

        #[test]
        fn sixteen_bit_products_add_their_bias_before_rounding(
            sizes in sizes(),
            dtype in float_dtype(),
            has_bias: bool,
            seed: u64,
        ) {
            let ProductSizes { batch, m, k, n } = sizes;
            let (a, b) = (random(DType::BFloat16, &[batch, m, k], seed), random(DType::BFloat16, &[batch, k, n], !seed));
            let product = call("bmm_bf16").with(scattered(&a)).with(b.clone()).named("out_dtype", dtype).tensor();
            check_rounded_within(&product, &naive(&exact(&a), &exact(&b), sizes), ERROR);

            let (a, b) = (random(DType::BFloat16, &[m, k], seed), random(DType::BFloat16, &[k, n], !seed));
            let mut expected = naive(&exact(&a), &exact(&b), ProductSizes { batch: 1, ..sizes });
            let mut product = call("mm_bf16").with(a).with(scattered(&b));
            if has_bias {
                let bias = random(DType::BFloat16, &[n], seed ^ 1);
                let each = exact(&bias);
                expected.iter_mut().enumerate().for_each(|(place, x)| *x += each[place % n]);
                product = product.with(bias).with(false);
            }
            check_rounded_within(&product.named("out_dtype", dtype).tensor(), &expected, ERROR);
        }
    }

    #[test]
    fn scales_of_fp8_are_multiplied_in_before_the_sum() {
        let three = || tensor(DType::Float8E4M3Fn, &[1, 1, 1], &[3.0]);
        let product =
            call("bmm_fp8").with(three()).with(three()).with(0.7).with(0.7).with(DType::Float32).tensor();
        let (before, after) = ((3.0 * 0.7f32) * (3.0 * 0.7f32), 3.0 * 3.0 * (0.7f32 * 0.7f32));
        assert_ne!(before, after);
        assert_eq!(product.to_f32().unwrap(), [before]);
    }

    #[test]
    fn results_are_bfloat16_unless_told_otherwise() {
        let a = || random(DType::BFloat16, &[2, 2], 1);
        let batch = || random(DType::BFloat16, &[1, 2, 2], 1);
        let fp8 = || random(DType::Float8E4M3Fn, &[2, 2], 1);
        for product in [
            call("mm_bf16").with(a()).with(a()),
            call("bmm_bf16").with(batch()).with(batch()),
            call("mm_fp8").with(fp8()).with(fp8()),
        ] {
            assert_eq!(product.tensor().dtype(), DType::BFloat16);
        }
    }

    #[test]
    fn products_of_many_rows_are_computed_in_panels() {
        let sizes @ ProductSizes { m, k, n, .. } = ProductSizes { batch: 2, m: 2 * PANEL + 44, k: 5, n: 3 };
        let (a, b) = (random(DType::BFloat16, &[2, m, k], 1), random(DType::BFloat16, &[2, k, n], 2));
        let product = call("bmm_bf16").with(a.clone()).with(b.clone()).named("out_dtype", "float32").tensor();
        check_rounded_within(&product, &naive(&exact(&a), &exact(&b), sizes), ERROR);
    }

    #[test]
    fn out_is_filled() {
        let a = || random(DType::Float8E4M3Fn, &[1, 2, 4], 1);
        let b = || random(DType::Float8E4M3Fn, &[1, 4, 3], 2);
        let scaled = || call("bmm_fp8").with(a()).with(b()).with(1.0).with(1.0).with("bfloat16");
        let out = scattered(&random(DType::Float16, &[1, 2, 3], 3));
        let filled = scaled().with(out.clone()).tensor();
        assert_eq!((filled.dtype(), filled.layout()), (out.dtype(), out.layout()));
        let sizes = ProductSizes { batch: 1, m: 2, k: 4, n: 3 };
        check_rounded_within(&filled, &naive(&exact(&a()), &exact(&b()), sizes), ERROR);
        assert_eq!(
            scaled().with(random(DType::Float16, &[2, 3], 3)).error(),
            "argument `out` has shape [2, 3], expected [1, 2, 3]"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fp8 = |shape: &[usize]| random(DType::Float8E4M3Fn, shape, 1);
        let bmm = |a: TensorBuf, b: TensorBuf| call("bmm_fp8").with(a).with(b).with(1.0).with(1.0);
        assert_eq!(
            bmm(fp8(&[2, 3, 4]), fp8(&[2, 5, 6])).with("bfloat16").error(),
            "argument `B` has shape [2, 5, 6], expected [2, 4, n], batch and k as in `A`"
        );
        assert_eq!(
            bmm(fp8(&[3, 4]), fp8(&[2, 5, 6])).with("bfloat16").error(),
            "argument `A` has shape [3, 4], expected [batch, m, k]"
        );
        assert_eq!(
            bmm(fp8(&[1, 3, 4]), fp8(&[1, 4, 6])).with("int32").error(),
            "argument `dtype` is torch.int32: a product is rounded to floats"
        );
        assert_eq!(
            call("mm_fp8").with(fp8(&[3, 256])).with(fp8(&[2, 7, 128])).error(),
            "argument `b` has shape [2, 7, 128], expected [n, k]: a weight shuffled for `trtllm_low_latency` cannot be \
             read"
        );
        assert_eq!(
            call("mm_bf16").with(fp8(&[3, 4])).with(fp8(&[5, 4])).error(),
            "argument `b` has shape [5, 4], expected [4, n], k as in `a`"
        );
        assert_eq!(
            call("mm_bf16").with(fp8(&[3, 4])).with(fp8(&[4, 5])).with(fp8(&[4])).error(),
            "argument `bias` has shape [4], expected [5], one number for each column of `b`"
        );
    }

    #[test]
    fn thin_factors_cannot_ask_for_any_size() {
        let a = tensor(DType::BFloat16, &[1 << 30, 0], &[]);
        let b = tensor(DType::BFloat16, &[0, 1 << 30], &[]);
        assert_eq!(
            call("mm_bf16").with(a).with(b).error(),
            "the result would have 1 x 1073741824 x 1073741824 elements"
        );
    }
}
