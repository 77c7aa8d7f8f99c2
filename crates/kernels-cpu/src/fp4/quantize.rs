//! Quantising to e2m1 codes.

use callbox_core::narrow_float::{E4M3FN, decode_e8m0, encode_e2m1};
use callbox_core::{DType, ExecError, LayoutError, TensorBuf};
use callbox_functions::{Fp4Codes, Fp4Quantize, ScaleRule};

use crate::numbers;

/// The largest magnitude of an e2m1 code.
const LARGEST: f32 = 6.0;

/// Solves [`Fp4Quantize`].
pub(crate) fn quantize(problem: &Fp4Quantize<'_>) -> Result<Fp4Codes, ExecError> {
    let (codes, scales) = quantize_rows(&numbers::values(problem.input), problem);
    let mut codes_shape = problem.input.shape().to_vec();
    codes_shape.splice(codes_shape.len() - 1.., [problem.width / 2]);
    let tensor = |shape: &[usize], bytes| {
        TensorBuf::from_elements(DType::UInt8, shape, bytes)
            .map_err(|source: LayoutError| ExecError::Device(source.into()))
    };
    Ok(Fp4Codes { codes: tensor(&codes_shape, codes)?, scales: tensor(&problem.grid.shape(), scales)? })
}

/// Returns the codes of all rows, row-major, and the scales in the order of the grid.
fn quantize_rows(values: &[f32], problem: &Fp4Quantize<'_>) -> (Vec<u8>, Vec<u8>) {
    let mut codes = Vec::with_capacity(values.len() / 2);
    let mut scales = vec![0; problem.grid.byte_len()];
    for (row, values) in values.chunks_exact(problem.width).enumerate() {
        for (column, block) in values.chunks_exact(problem.block).enumerate() {
            let largest = block.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
            let scale = scale_byte(problem.rule, largest);
            let factor = factor(problem.rule, scale);
            scales[problem.grid.place(row, column)] = scale;
            let (pairs, _) = block.as_chunks();
            codes.extend(
                pairs.iter().map(|[even, odd]| encode_e2m1(even * factor) | encode_e2m1(odd * factor) << 4),
            );
        }
    }
    (codes, scales)
}

/// Returns the scale byte of a block whose largest magnitude is given.
fn scale_byte(rule: ScaleRule, largest: f32) -> u8 {
    match rule {
        ScaleRule::E4m3 { global } => E4M3FN.encode(largest * global / LARGEST),
        ScaleRule::E8m0 => e8m0_not_below(largest / LARGEST),
    }
}

/// Returns what the values of a block are multiplied by before they are rounded.
fn factor(rule: ScaleRule, byte: u8) -> f32 {
    match rule {
        ScaleRule::E4m3 { global } => match E4M3FN.decode(byte) {
            0.0 => 0.0,
            scale => global * (1.0 / scale),
        },
        // The reciprocal of a power of two is exact.
        ScaleRule::E8m0 => 1.0 / decode_e8m0(byte),
    }
}

/// Returns the e8m0 code of the smallest power of two that is not below a value that is not negative; the
/// largest finite code where there is none.
fn e8m0_not_below(value: f32) -> u8 {
    let bits = value.to_bits();
    let (exponent, mantissa) = (bits >> 23, bits & 0x7f_ffff);
    // Code 0 is 2^-127, which f32 holds as a subnormal number.
    let up = match exponent {
        0 => mantissa > 1 << 22,
        _ => mantissa > 0,
    };
    (exponent + u32::from(up)).min(0xfe) as u8
}

#[cfg(test)]
mod tests {
    use callbox_core::narrow_float::{E2M1_VALUES, E4M3FN_VALUES};
    use callbox_core::{Bytes, Layout, Value};
    use callbox_functions::{ScaleGrid, ScaleLayout};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{byte_tensor, call, exact, random, scalar, scattered, tensor, transposed, vector};

    /// A block of 16 in bfloat16: these values, then zeros.
    fn block(values: &[f32]) -> TensorBuf {
        let mut block = values.to_vec();
        block.resize(16, 0.0);
        tensor(DType::BFloat16, &[1, 16], &block)
    }

    /// The codes of a block, one by one, and its scale.
    fn codes_and_scale(values: &[f32], global: f32) -> (Vec<u8>, u8) {
        let (codes, scales) =
            call("nvfp4_quantize").with(block(values)).with(scalar(global)).named("sfLayout", 2i64).pair();
        let codes = codes.to_bytes().into_iter().flat_map(|byte| [byte & 15, byte >> 4]);
        (codes.take(values.len()).collect(), scales.to_bytes()[0])
    }

    #[test]
    fn the_even_element_lies_in_the_low_nibble() {
        let (codes, scales) = call("nvfp4_quantize").with(block(&[6.0, -1.0, 0.5])).with(1.0).pair();
        // 6 is code 7, -1 is code 10, 0.5 is code 1; a scale of 1 is the e4m3 byte 0x38.
        assert_eq!(codes.to_bytes(), [0xa7, 0x01, 0, 0, 0, 0, 0, 0]);
        assert_eq!(scales.to_bytes()[0], 0x38);
    }

    #[test]
    fn ties_go_to_the_even_code_and_zeros_keep_their_sign() {
        let (codes, scale) =
            codes_and_scale(&[6.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, -0.25, -0.75, -5.0, -0.0], 1.0);
        assert_eq!(codes, [7, 0, 2, 2, 4, 4, 6, 6, 8, 10, 14, 8]);
        assert_eq!(scale, 0x38);
    }

    #[test]
    fn the_reciprocal_of_the_scale_is_taken_first() {
        // Each value is half way between two codes. Dividing last (`x * g / s`), dividing `g` by `s`, or
        // dividing `s` by `g` gives the codes 0, 2, 4 and 6.
        let values = [3.171875, 0.13671875, 0.68359375, 1.3671875, 2.734375];
        let (codes, scale) = codes_and_scale(&values, 2688.0 / 13.125);
        assert_eq!(codes[1..], [1, 3, 5, 7]);
        assert_eq!(E4M3FN_VALUES[usize::from(scale)], 112.0);
    }

    #[test]
    fn scales_saturate_and_underflow() {
        assert_eq!(codes_and_scale(&[6.0, 3.0], 1000.0), (vec![7, 7], 0x7e));
        // Half of the smallest e4m3 number is a tie with zero, the even code.
        assert_eq!(codes_and_scale(&[6.0, -3.0], 2f32.powi(-10)), (vec![0, 8], 0));
        assert_eq!(codes_and_scale(&[0.0, -0.0], 1.0), (vec![0, 8], 0));
    }

    /// Quantises one value at a time by trying every code.
    fn naive_codes(values: &[f32], factor: f32) -> Vec<u8> {
        let nearest = |x: f32| {
            let distance = |code: u8| (f64::from(E2M1_VALUES[usize::from(code)]) - f64::from(x)).abs();
            let codes = if x.is_sign_negative() { 8..16 } else { 0..8u8 };
            codes.min_by(|&a, &b| distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)))).unwrap()
        };
        values.chunks(2).map(|pair| nearest(pair[0] * factor) | nearest(pair[1] * factor) << 4).collect()
    }

    fn inputs() -> impl Strategy<Value = TensorBuf> {
        let dtype = prop::sample::select(vec![DType::Float16, DType::BFloat16, DType::Float8E4M3Fn]);
        (dtype, prop::collection::vec(1usize..5, 1..3), 1usize..5, any::<u64>()).prop_map(
            |(dtype, mut shape, blocks, seed)| {
                shape.push(32 * blocks);
                random(dtype, &shape, seed)
            },
        )
    }

    proptest! {
        #[test]
        fn each_block_has_the_nearest_scale_and_the_nearest_codes(
            input in inputs(),
            global in 0.1f32..500.0,
            inversed: bool,
        ) {
            let values = input.to_f32().unwrap();
            let given = if inversed { 1.0 / global } else { global };
            let g = if inversed { 1.0 / given } else { given };
            let (mut codes, mut scales) = (Vec::new(), Vec::new());
            for block in values.chunks(16) {
                let amax = block.iter().fold(0f32, |amax, x| amax.max(x.abs()));
                let distance = |code: u8| (f64::from(E4M3FN_VALUES[usize::from(code)]) - f64::from(amax * g / 6.0)).abs();
                let scale = (0..=0x7eu8)
                    .min_by(|&a, &b| distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1))))
                    .unwrap();
                let value = E4M3FN_VALUES[usize::from(scale)];
                codes.extend(naive_codes(block, if value == 0.0 { 0.0 } else { g * (1.0 / value) }));
                scales.push(scale);
            }
            let (actual_codes, actual_scales) = call("fp4_quantize")
                .with(scattered(&input))
                .with(vector(DType::Float32, &[given]))
                .named("is_sf_swizzled_layout", false)
                .named("is_global_scale_inversed", inversed)
                .pair();
            let rows = scales.len() / (input.shape()[input.shape().len() - 1] / 16);
            prop_assert_eq!(actual_scales.shape(), &[rows, scales.len() / rows][..]);
            prop_assert_eq!(&actual_codes.shape()[..input.shape().len() - 1], &input.shape()[..input.shape().len() - 1]);
            prop_assert_eq!(actual_codes.to_bytes(), codes);
            prop_assert_eq!(actual_scales.to_bytes(), scales);
        }

        #[test]
        fn powers_of_two_are_the_smallest_that_hold_the_block(input in inputs(), exponent in -20i32..20) {
            let values: Vec<f32> = input.to_f32().unwrap().iter().map(|x| x * 2f32.powi(exponent)).collect();
            let input = tensor(DType::BFloat16, input.shape(), &values);
            let (codes, scales) = call("fp4_quantize")
                .with(input.clone())
                .with(scalar(7.0))
                .with(32i64)
                .with(true)
                .with(false)
                .pair();
            let (mut expected_codes, mut expected_scales) = (Vec::new(), Vec::new());
            for block in input.to_f32().unwrap().chunks(32) {
                let amax = block.iter().fold(0f32, |amax, x| amax.max(x.abs()));
                let byte = 127.0 + f64::from(amax / 6.0).log2().ceil();
                expected_codes.extend(naive_codes(block, (127.0 - byte).exp2() as f32));
                expected_scales.push(byte as u8);
            }
            prop_assert_eq!(codes.to_bytes(), expected_codes);
            prop_assert_eq!(scales.to_bytes(), expected_scales);
        }

        #[test]
        fn layouts_hold_the_same_scales_and_zeros_between(
            (rows, blocks) in (1usize..140, 1usize..9),
            seed: u64,
        ) {
            let input = random(DType::Float16, &[rows, 16 * blocks], seed);
            let quantised = |layout: i64| {
                call("nvfp4_quantize").with(input.clone()).with(scalar(3.0)).with(layout).pair()
            };
            let (codes, linear) = quantised(2);
            let linear = linear.to_bytes();
            for (number, layout, padded_rows) in [
                (0, ScaleLayout::Tiles128x4, rows.next_multiple_of(128)),
                (1, ScaleLayout::Tiles8x4, rows.next_multiple_of(8)),
            ] {
                let (same_codes, tiled) = quantised(number);
                prop_assert_eq!(same_codes.to_bytes(), codes.to_bytes());
                prop_assert_eq!(tiled.shape(), &[padded_rows, blocks.next_multiple_of(4)][..]);
                let mut tiled_bytes = tiled.to_bytes();
                let grid = ScaleGrid::new(layout, rows, blocks).unwrap();
                for row in 0..rows {
                    for block in 0..blocks {
                        let byte = std::mem::take(&mut tiled_bytes[grid.place(row, block)]);
                        prop_assert_eq!(byte, linear[row * blocks + block]);
                    }
                }
                prop_assert!(tiled_bytes.iter().all(|byte| *byte == 0));

                let by_flags = call("fp4_quantize")
                    .with(input.clone())
                    .with(scalar(3.0))
                    .named("is_sf_8x4_layout", number == 1)
                    .pair();
                prop_assert_eq!(by_flags.1.to_bytes(), tiled.to_bytes());
            }
        }

        #[test]
        fn column_major_inputs_are_quantised_along_their_columns(rows in 1usize..9, seed: u64) {
            let by_rows = random(DType::BFloat16, &[2, rows, 32], seed);
            let (codes, scales) = call("fp4_quantize").with(by_rows.clone()).with(scalar(2.0)).pair();
            for function in ["fp4_quantize", "nvfp4_quantize"] {
                let by_columns = transposed(&by_rows);
                let (turned_codes, turned_scales) = call(function).with(by_columns).with(scalar(2.0)).pair();
                prop_assert_eq!(turned_codes.shape(), &[2, 16, rows][..]);
                prop_assert_eq!(transposed(&turned_codes).to_bytes(), codes.to_bytes());
                prop_assert_eq!(transposed(&turned_scales).to_bytes(), scales.to_bytes());
                prop_assert_eq!(turned_scales.shape(), &[4, 128][..]);
            }
        }
    }

    #[test]
    fn a_power_of_two_is_its_own_ceiling() {
        for (value, code) in [
            (1.0, 127),
            (1.000_000_1, 128),
            (0.5, 126),
            (0.0, 0),
            (2f32.powi(-127), 0),
            (2f32.powi(-127) * 1.000_001, 1),
            (2f32.powi(-126), 1),
            (f32::MAX, 254),
            (f32::INFINITY, 254),
        ] {
            assert_eq!(e8m0_not_below(value), code, "{value:e}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let quantise = || call("nvfp4_quantize").with(block(&[1.0])).with(1.0);
        for name in [
            "do_shuffle",
            "per_token_activation",
            "expanded_idx_to_permuted_idx",
            "out_scale",
            "nvfp4_4over6",
        ] {
            let message = quantise().named(name, true).error();
            let expected = format!("argument `{name}` asks for something that is not supported: ");
            assert!(message.starts_with(&expected), "{message}");
            assert!(quantise().named(name, Value::None).run().is_ok());
        }
        assert_eq!(
            quantise().named("sfLayout", 3i64).error(),
            "argument `sfLayout` is 3: expected 0 (128x4), 1 (8x4) or 2 (linear)"
        );
    }

    #[test]
    fn an_enumeration_stands_for_its_number() {
        let linear =
            Value::Enum { name: "SfLayout.layout_linear".to_owned(), value: Box::new(Value::int(2)) };
        let (_, scales) = call("nvfp4_quantize").with(block(&[1.0])).with(1.0).with(linear).pair();
        assert_eq!(scales.shape(), [1, 1]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let input = |shape: &[usize]| random(DType::Float16, shape, 1);
        assert_eq!(
            call("fp4_quantize").with(input(&[2, 24])).error(),
            "argument `input` has shape [2, 24], expected blocks of 16 along the dimension that is quantised"
        );
        assert_eq!(
            call("fp4_quantize").with(input(&[32])).error(),
            "argument `input` has shape [32], expected [.., m, k]"
        );
        assert_eq!(
            call("fp4_quantize").with(input(&[2, 32])).named("sf_vec_size", 8i64).error(),
            "argument `sf_vec_size` is 8: expected 16 or 32"
        );
        assert_eq!(
            call("nvfp4_quantize").with(byte_tensor(&[1, 16], &[0; 16])).with(1.0).error(),
            "argument `a` is a tensor of torch.uint8, expected a tensor of floats"
        );
        let no_rows = Layout::new(&[1 << 40, 0, 32], &[0, 0, 0], 0).unwrap();
        let no_rows = TensorBuf::new(DType::Float16, no_rows, Bytes::new()).unwrap();
        assert_eq!(exact(&call("fp4_quantize").with(no_rows).pair().1), [0.0; 0]);
    }
}
