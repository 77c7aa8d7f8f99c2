//! Multiplying matrices of e2m1 codes.

use callbox_core::narrow_float::{E2M1_VALUES, E4M3FN_VALUES, decode_e8m0};
use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{BlockScales, FactorOrder, Fp4Product, ScaleFormat};

use crate::gemm;
use crate::numbers::{self, FactorValues};

/// Solves [`Fp4Product`].
pub(crate) fn multiply(problem: &Fp4Product<'_>) -> Result<TensorBuf, ExecError> {
    let sizes = problem.sizes;
    let blocks = sizes.k / problem.block;
    let a = decode(problem.a, &problem.a_scales, blocks, problem.block);
    let b = decode(problem.b, &problem.b_scales, blocks, problem.block);
    let mut product = gemm::product(sizes, &a, &b, FactorOrder::NByK);
    let alpha = FactorValues::read(problem.alpha);
    for (row, values) in product.chunks_exact_mut(sizes.n.max(1)).enumerate() {
        let alpha = alpha.of(row);
        values.iter_mut().for_each(|x| *x *= alpha);
    }
    numbers::rounded(problem.dtype, &[sizes.m, sizes.n], &product)
}

/// Decodes rows of codes, each code times the scale of its block.
fn decode(codes: &TensorBuf, scales: &BlockScales<'_>, blocks_in_a_row: usize, block: usize) -> Vec<f32> {
    let (codes, bytes) = (codes.to_bytes(), scales.bytes.to_bytes());
    let value: fn(u8) -> f32 = match scales.format {
        ScaleFormat::E4m3 => |byte| E4M3FN_VALUES[usize::from(byte)],
        ScaleFormat::E8m0 => decode_e8m0,
    };
    let mut values = Vec::with_capacity(2 * codes.len());
    let blocks = blocks_in_a_row.max(1);
    for (place, codes) in codes.chunks_exact(block / 2).enumerate() {
        let scale = value(bytes[scales.grid.place(place / blocks, place % blocks)]);
        let nibbles = codes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        values.extend(nibbles.map(|code| E2M1_VALUES[usize::from(code)] * scale));
    }
    values
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, TensorBuf};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{
        Trial, byte_tensor, call, check_rounded, check_rounded_within, float_dtype, random, scalar,
        scattered, tensor, transposed, vector,
    };

    /// Quantised rows with their scales, in a layout and row-major.
    struct Quantised {
        codes: TensorBuf,
        tiled: TensorBuf,
        linear: TensorBuf,
    }

    impl Quantised {
        fn new(
            rows: usize,
            k: usize,
            options: impl Fn(Trial) -> Trial,
            is_8x4: bool,
            seed: u64,
        ) -> Quantised {
            let input = random(DType::BFloat16, &[rows, k], seed);
            let quantise = || options(call("fp4_quantize").with(input.clone()));
            let (codes, tiled) = quantise().named("is_sf_8x4_layout", is_8x4).pair();
            let (_, linear) = quantise().named("is_sf_swizzled_layout", false).pair();
            Quantised { codes, tiled, linear }
        }

        /// The values that codes and scales stand for.
        fn decoded(&self, block: usize, scale: fn(u8) -> f32) -> Vec<f64> {
            let scales = self.linear.to_bytes();
            let nibbles = self.codes.to_bytes().into_iter().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles
                .enumerate()
                .map(|(place, code)| {
                    f64::from(E2M1_VALUES[usize::from(code)]) * f64::from(scale(scales[place / block]))
                })
                .collect()
        }
    }

    proptest! {
        #[test]
        fn codes_times_scales_are_multiplied(
            (m, blocks, n) in (1usize..20, 1usize..6, 1usize..20),
            dtype in float_dtype(),
            (is_mx, is_8x4, by_row) in any::<(bool, bool, bool)>(),
            alphas in prop::collection::vec(0.1f32..3.0, 20),
            seed: u64,
        ) {
            let block = if is_mx { 32 } else { 16 };
            let k = block * blocks;
            let options = |call: Trial| match is_mx {
                true => call.named("sf_vec_size", 32i64).named("sf_use_ue8m0", true),
                false => call.named("global_scale", scalar(2.0)),
            };
            let a = Quantised::new(m, k, options, is_8x4, seed);
            let b = Quantised::new(n, k, options, false, !seed);
            let scale: fn(u8) -> f32 = if is_mx { decode_e8m0 } else { |byte| E4M3FN_VALUES[usize::from(byte)] };
            let (a_values, b_values) = (a.decoded(block, scale), b.decoded(block, scale));
            let alpha_of = |row: usize| f64::from(alphas[if by_row { row } else { 0 }]);
            let expected: Vec<f64> = (0..m * n)
                .map(|place| {
                    let (a, b) = (&a_values[place / n * k..][..k], &b_values[place % n * k..][..k]);
                    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() * alpha_of(place / n)
                })
                .collect();
            let alpha = if by_row { vector(DType::Float32, &alphas[..m]) } else { scalar(alphas[0]) };
            let product = call("mm_fp4")
                .with(scattered(&a.codes))
                .with(transposed(&b.codes))
                .with(a.tiled)
                .with(scattered(&transposed(&b.tiled)))
                .with(alpha)
                .with(dtype)
                .named("block_size", block as i64)
                .named("use_8x4_sf_layout", is_8x4)
                .named("use_nvfp4", !is_mx)
                .tensor();
            prop_assert_eq!((product.dtype(), product.shape()), (dtype, &[m, n][..]));
            // At most 160 terms below 36, scaled by at most 3: a unit in the last place of the largest sum.
            check_rounded_within(&product, &expected, 160.0 * 36.0 * 3.0 / 16_777_216.0);
        }
    }

    /// One row times one column of a block each, with a scale of 1.
    fn product(a: &[u8; 8], b: &[u8; 8]) -> Trial {
        let mut a_scales = vec![0; 512];
        a_scales[0] = 0x38;
        call("mm_fp4")
            .with(byte_tensor(&[1, 8], a))
            .with(byte_tensor(&[8, 1], b))
            .with(byte_tensor(&[128, 4], &a_scales))
            .with(transposed(&byte_tensor(&[128, 4], &a_scales)))
    }

    #[test]
    fn nibbles_meet_nibbles_of_the_same_place() {
        // Codes 2 and 4 are 1 and 2; only the low nibbles, or only the high ones, of both are set.
        let low = [4, 0, 0, 0, 0, 0, 0, 0];
        let high = [0x40, 0, 0, 0, 0, 0, 0, 0];
        for (a, b, expected) in [(low, low, 4.0), (high, high, 4.0), (low, high, 0.0)] {
            check_rounded(&product(&a, &b).tensor(), &[expected], 0.0);
        }
        assert_eq!(product(&low, &low).tensor().dtype(), DType::BFloat16);
    }

    #[test]
    fn scales_may_be_e4m3_tensors() {
        let mut scales = vec![0.0; 512];
        scales[0] = 1.5;
        let scales = tensor(DType::Float8E4M3Fn, &[128, 4], &scales);
        let ones = [0x22; 8];
        let product = call("mm_fp4")
            .with(byte_tensor(&[1, 8], &ones))
            .with(byte_tensor(&[8, 1], &ones))
            .with(scales.clone())
            .with(transposed(&scales))
            .named("out_dtype", "float32")
            .tensor();
        check_rounded(&product, &[16.0 * 1.5 * 1.5], 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ones = [0x22; 8];
        assert_eq!(
            product(&ones, &ones).named("backend", "trtllm").error(),
            "argument `backend` asks for something that is not supported: `b` is shuffled for the trtllm kernel"
        );
        assert_eq!(
            product(&ones, &ones).named("block_size", 8i64).error(),
            "argument `block_size` is 8: expected 16 or 32"
        );
        assert_eq!(
            product(&ones, &ones).named("block_size", 32i64).error(),
            "argument `a` has shape [1, 8], expected k in whole blocks of 32"
        );
        assert_eq!(
            product(&ones, &ones).named("use_8x4_sf_layout", true).error(),
            "argument `a_descale` has shape [128, 4], expected [8, 4]: one scale for each of 1 blocks in 1 rows, in \
             whole tiles"
        );
        assert_eq!(
            product(&ones, &ones).named("alpha", vector(DType::Float32, &[1.0, 2.0])).error(),
            "argument `alpha` has shape [2], expected [1], one number for each row"
        );
        let scales = || byte_tensor(&[128, 4], &[0; 512]);
        let a = || byte_tensor(&[1, 8], &ones);
        assert_eq!(
            call("mm_fp4").with(a()).with(byte_tensor(&[8, 1], &ones)).with(scales()).with(scales()).error(),
            "argument `b_descale` has shape [128, 4], expected [4, 128]: one scale for each of 1 blocks in 1 rows, in \
             whole tiles"
        );
        assert_eq!(
            call("mm_fp4").with(a()).with(a()).with(scales()).with(scales()).error(),
            "argument `b` has shape [1, 8], expected [8, n], k / 2 as in `a`"
        );
        let wide = random(DType::Float16, &[1, 8], 1);
        assert_eq!(
            call("mm_fp4").with(wide).with(byte_tensor(&[8, 1], &ones)).with(scales()).with(scales()).error(),
            "argument `a` is a tensor of torch.float16, expected a tensor of bytes"
        );
    }
}
