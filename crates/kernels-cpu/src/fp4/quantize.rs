//! Quantising to e2m1 codes.

use callbox_core::narrow_float::{E4M3FN, decode_e8m0, encode_e2m1};
use callbox_core::{Bound, DType, ExecError, OwnedValue, TensorBuf, Value};

use super::scale_layout::{ScaleGrid, ScaleLayout};
use crate::operand;

/// The largest magnitude of an e2m1 code.
const LARGEST: f32 = 6.0;

/// Quantises blocks of 16 neighbours (NVFP4); returns `(codes, scales)`.
///
/// `a` `[.., m, k]` in f16, bf16 or e4m3; `a_global_sf` a number. `sfLayout` is 0 (128x4 tiles), 1 (8x4) or 2
/// (linear). Codes and scales as [`fp4_quantize`] has them.
pub(super) fn nvfp4_quantize(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    arguments.refuse("do_shuffle", "rows shuffled for a kernel")?;
    arguments.refuse("per_token_activation", "a scale for each token")?;
    arguments.refuse("expanded_idx_to_permuted_idx", "rows in another order")?;
    arguments.refuse("out_scale", "scales written to an argument")?;
    arguments.refuse("nvfp4_4over6", "blocks scaled to 4 in place of 6")?;
    let layout = match arguments.int("sfLayout")? {
        0 => ScaleLayout::Tiles128x4,
        1 => ScaleLayout::Tiles8x4,
        2 => ScaleLayout::Linear,
        other => {
            let reason = "expected 0 (128x4), 1 (8x4) or 2 (linear)";
            return Err(operand::wrong_value("sfLayout", other, reason));
        }
    };
    let recipe = Recipe {
        block: block_size(arguments)?,
        scale: Scale::E4m3 { global: arguments.float("a_global_sf")? },
        layout,
    };
    quantize(arguments, "a", &recipe)
}

/// Quantises blocks of `sf_vec_size` neighbours of the last dimension; returns `(codes, scales)`.
///
/// `input` `[.., m, k]` in f16, bf16 or e4m3. The codes are u8 `[.., m, k / 2]`, two in a byte. The scales are
/// u8, one for each block: `[rows, k / sf_vec_size]`, leading dimensions flattened into rows, padded to whole
/// tiles unless `is_sf_swizzled_layout` is false. With `amax` the largest magnitude of a block and `g` the
/// global scale (1 if None; its inverse with `is_global_scale_inversed`):
///
/// - e4m3 scales: `scale = e4m3(amax * g / 6)`, `code = e2m1(x * (g * (1 / scale)))`, in this order of f32
///   roundings, since 16-bit inputs hit exact ties; code 0 with the sign of `x` where the scale is 0.
/// - `sf_use_ue8m0`: `scale = 2^ceil(log2(amax / 6))`, `code = e2m1(x / scale)`; `g` is not used.
///
/// An input whose dimension before the last is the contiguous one is quantised along that, and both results
/// come back transposed.
pub(super) fn fp4_quantize(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    arguments.refuse("nvfp4_4over6", "blocks scaled to 4 in place of 6")?;
    let global = arguments.optional_float("global_scale")?.unwrap_or(1.0);
    let global = match arguments.flag("is_global_scale_inversed")? {
        true => 1.0 / global,
        false => global,
    };
    let tiled = arguments.flag("is_sf_swizzled_layout")?;
    let recipe = Recipe {
        block: block_size(arguments)?,
        scale: match arguments.flag("sf_use_ue8m0")? {
            true => Scale::E8m0,
            false => Scale::E4m3 { global },
        },
        layout: match (tiled, arguments.flag("is_sf_8x4_layout")?) {
            (true, false) => ScaleLayout::Tiles128x4,
            (true, true) => ScaleLayout::Tiles8x4,
            (false, _) => ScaleLayout::Linear,
        },
    };
    quantize(arguments, "input", &recipe)
}

fn block_size(arguments: &Bound<'_>) -> Result<usize, ExecError> {
    match arguments.size("sf_vec_size")? {
        size @ (16 | 32) => Ok(size),
        other => Err(operand::wrong_value("sf_vec_size", other, "expected 16 or 32")),
    }
}

/// What to quantise to.
struct Recipe {
    /// Elements that share a scale.
    block: usize,
    scale: Scale,
    layout: ScaleLayout,
}

#[derive(Clone, Copy)]
enum Scale {
    E4m3 { global: f32 },
    E8m0,
}

fn quantize(arguments: &Bound<'_>, name: &str, recipe: &Recipe) -> Result<OwnedValue, ExecError> {
    let given = operand::floats(arguments, name)?;
    let (tensor, column_major) = match given.layout().strides() {
        [.., 1, _] => (operand::transposed(given), true),
        [.., _, _] => (given.clone(), false),
        _ => return Err(operand::wrong_shape(name, given.shape(), "[.., m, k]".to_owned())),
    };
    let width = tensor.shape().last().copied().unwrap_or_default();
    if width == 0 || !width.is_multiple_of(recipe.block) {
        let expected = format!("blocks of {} along the dimension that is quantised", recipe.block);
        return Err(operand::wrong_shape(name, given.shape(), expected));
    }
    let elements = |source| ExecError::Elements { argument: name.to_owned(), source };
    let values = tensor.to_f32().map_err(elements)?;
    let grid = ScaleGrid::new(recipe.layout, values.len() / width, width / recipe.block)
        .ok_or_else(|| operand::wrong_shape(name, given.shape(), "fewer rows".to_owned()))?;
    let (codes, scales) = quantize_rows(&values, width, recipe, &grid);

    let mut codes_shape = tensor.shape().to_vec();
    codes_shape.splice(codes_shape.len() - 1.., [width / 2]);
    let results = [(codes_shape, codes), (grid.shape().to_vec(), scales)].map(|(shape, bytes)| {
        let tensor = TensorBuf::from_elements(DType::UInt8, &shape, bytes)
            .map_err(|_| operand::wrong_shape(name, given.shape(), "fewer elements".to_owned()))?;
        Ok(Value::Tensor(match column_major {
            true => operand::transposed(&tensor),
            false => tensor,
        }))
    });
    let [codes, scales] = results;
    Ok(Value::tuple(vec![codes?, scales?]))
}

/// Quantises rows of `width` values; returns the codes, row-major, and the scales in the order of `grid`.
fn quantize_rows(values: &[f32], width: usize, recipe: &Recipe, grid: &ScaleGrid) -> (Vec<u8>, Vec<u8>) {
    let mut codes = Vec::with_capacity(values.len() / 2);
    let mut scales = vec![0; grid.len()];
    for (row, values) in values.chunks_exact(width).enumerate() {
        for (column, block) in values.chunks_exact(recipe.block).enumerate() {
            let largest = block.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
            let scale = recipe.scale.byte(largest);
            let factor = recipe.scale.factor(scale);
            scales[grid.place(row, column)] = scale;
            let (pairs, _) = block.as_chunks();
            codes.extend(
                pairs.iter().map(|[even, odd]| encode_e2m1(even * factor) | encode_e2m1(odd * factor) << 4),
            );
        }
    }
    (codes, scales)
}

impl Scale {
    /// Returns the scale byte of a block whose largest magnitude is given.
    fn byte(self, largest: f32) -> u8 {
        match self {
            Scale::E4m3 { global } => E4M3FN.encode(largest * global / LARGEST),
            Scale::E8m0 => e8m0_not_below(largest / LARGEST),
        }
    }

    /// Returns what the values of a block are multiplied by before they are rounded.
    fn factor(self, byte: u8) -> f32 {
        match self {
            Scale::E4m3 { global } => match E4M3FN.decode(byte) {
                0.0 => 0.0,
                scale => global * (1.0 / scale),
            },
            // The reciprocal of a power of two is exact.
            Scale::E8m0 => 1.0 / decode_e8m0(byte),
        }
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
    use callbox_core::{Bytes, Layout};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{byte_tensor, call, exact, random, scalar, scattered, tensor, vector};

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
                let by_columns = operand::transposed(&by_rows);
                let (turned_codes, turned_scales) = call(function).with(by_columns).with(scalar(2.0)).pair();
                prop_assert_eq!(turned_codes.shape(), &[2, 16, rows][..]);
                prop_assert_eq!(operand::transposed(&turned_codes).to_bytes(), codes.to_bytes());
                prop_assert_eq!(operand::transposed(&turned_scales).to_bytes(), scales.to_bytes());
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
