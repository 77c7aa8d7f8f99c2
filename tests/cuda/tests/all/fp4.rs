//! `fp4.cu` against the reference: codes and scales byte by byte, products within a rounding.

use callbox_core::{DType, Layout, TensorBuf};
use callbox_cuda_tests::{Argument, Launch, Memory};

use crate::gemm::tiles;
use crate::trial::{Call, check_close, download, launch, random, spaced, type_code, upload};

/// An order of the scales: its number in the kernels, and how many rows and columns are filled up.
#[derive(Clone, Copy, Debug)]
struct ScaleLayout {
    number: u32,
    rows: usize,
    columns: usize,
}

const LINEAR: ScaleLayout = ScaleLayout { number: 0, rows: 1, columns: 1 };
const TILES_128X4: ScaleLayout = ScaleLayout { number: 1, rows: 128, columns: 4 };
const TILES_8X4: ScaleLayout = ScaleLayout { number: 2, rows: 8, columns: 4 };

/// How to quantise.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    block: usize,
    e8m0: bool,
    layout: ScaleLayout,
    global: f32,
}

impl Recipe {
    /// Quantises on the CPU; returns codes and scales.
    fn reference(&self, input: &TensorBuf) -> Vec<TensorBuf> {
        let call = Call::default().with(input).with(self.global).with(self.block).with(self.e8m0);
        call.with(self.layout.number != 0).with(self.layout.number == 2).of("fp4_quantize")
    }

    fn scale_bytes(&self, rows: usize, columns: usize) -> usize {
        rows.next_multiple_of(self.layout.rows) * columns.next_multiple_of(self.layout.columns)
    }
}

fn check_quantised(suffix: &str, input: &TensorBuf, recipe: Recipe) {
    // The dimension whose neighbours lie side by side is the one that is quantised along.
    let strides = input.layout().strides();
    let along_rows = strides[0] != 1;
    let [rows, width] = match along_rows {
        true => [input.shape()[0], input.shape()[1]],
        false => [input.shape()[1], input.shape()[0]],
    };
    let [row_stride, element_stride] =
        if along_rows { [strides[0], strides[1]] } else { [strides[1], strides[0]] };
    let (memory, codes) = (upload(input), Memory::unwritten(rows * width / 2));
    let scales = Memory::unwritten(recipe.scale_bytes(rows, width / recipe.block));
    let argument = Argument::structure()
        .memory(&memory)
        .memory(&codes)
        .memory(&scales)
        .i64(row_stride as i64)
        .i64(element_stride as i64)
        .u32(rows as u32)
        .u32(width as u32)
        .u32(recipe.block as u32)
        .u32(recipe.layout.number)
        .u32(u32::from(recipe.e8m0))
        .f32(recipe.global);
    launch(&format!("fp4_quantize_{suffix}"), Launch::new(2, 64), &[argument]);
    let expected =
        recipe.reference(input).into_iter().map(|tensor| tensor.storage().to_vec()).collect::<Vec<_>>();
    let what = format!("{suffix} {recipe:?} {:?}", input.layout());
    assert_eq!(codes.to_bytes(), expected[0], "codes of {what}");
    assert_eq!(scales.to_bytes(), expected[1], "scales of {what}");
}

fn recipes() -> impl Iterator<Item = Recipe> {
    let layouts = [LINEAR, TILES_128X4, TILES_8X4];
    let scales = [(16, false, 1.0), (16, false, 448.0 * 6.0 / 2.9), (32, false, 1e-9), (32, true, 1.0)];
    layouts
        .into_iter()
        .flat_map(move |layout| scales.map(|(block, e8m0, global)| Recipe { block, e8m0, layout, global }))
}

#[test]
fn codes_and_scales_are_those_of_the_reference() {
    let types = [
        (DType::Float16, "f16"),
        (DType::BFloat16, "bf16"),
        (DType::Float32, "f32"),
        (DType::Float8E4M3Fn, "e4m3"),
    ];
    for (dtype, suffix) in types {
        for (seed, [rows, width]) in [[1, 32], [7, 96], [130, 160], [40, 64]].into_iter().enumerate() {
            let input = random(dtype, &[rows, width], seed as u64);
            for recipe in recipes() {
                check_quantised(suffix, &input, recipe);
                check_quantised(suffix, &spaced(&input, 3), recipe);
            }
        }
    }
}

#[test]
fn column_major_inputs_are_quantised_along_their_columns() {
    let rows = random(DType::BFloat16, &[5, 64], 3);
    let columns = rows.with_layout(Layout::new(&[64, 5], &[1, 64], 0).unwrap()).unwrap();
    recipes().for_each(|recipe| check_quantised("bf16", &columns, recipe));
}

#[test]
fn values_that_are_not_finite_zeros_and_subnormal_ones_are_quantised_as_the_reference_does_it() {
    let mut values = vec![0f32; 256];
    let hard = [f32::INFINITY, -f32::INFINITY, f32::NAN, -0.0, f32::from_bits(1), 1e-38, f32::MAX, 6.0, 0.25];
    for (place, value) in hard.into_iter().enumerate() {
        values[32 * place.min(7) + place % 3] = value;
    }
    let input = TensorBuf::from_f32(DType::Float32, &[2, 128], &values).unwrap();
    recipes().for_each(|recipe| check_quantised("f32", &input, recipe));
}

#[test]
fn the_reciprocal_of_the_scale_is_taken_first() {
    // Each of these is half way between two codes: another order of the divisions gives the code below or above.
    let mut values = vec![3.171875, 0.13671875, 0.68359375, 1.3671875, 2.734375];
    values.resize(32, 0.0);
    let input = TensorBuf::from_f32(DType::BFloat16, &[1, 32], &values).unwrap();
    let recipe = Recipe { block: 16, e8m0: false, layout: LINEAR, global: 2688.0 / 13.125 };
    check_quantised("bf16", &input, recipe);
}

/// A factor as the kernel takes it.
fn factor<'a>(
    argument: Argument<'a>,
    [codes, scales]: &'a [Memory; 2],
    layout: ScaleLayout,
    k: usize,
) -> Argument<'a> {
    argument.memory(codes).memory(scales).i64(k as i64 / 2).i64(1).u32(layout.number).u32(0)
}

/// The last two dimensions the other way round.
fn transposed(tensor: &TensorBuf) -> TensorBuf {
    let [rows, columns] = tensor.shape().try_into().unwrap();
    tensor.with_layout(Layout::new(&[columns, rows], &[1, columns], 0).unwrap()).unwrap()
}

#[test]
fn mm_fp4_agrees_with_the_reference() {
    for [m, k, n] in [[1, 32, 1], [7, 96, 33], [70, 160, 130]] {
        for recipe in recipes().filter(|recipe| recipe.layout.number != 0) {
            for dtype in [DType::BFloat16, DType::Float16] {
                check_product([m, k, n], recipe, dtype, false);
                check_product([m, k, n], recipe, dtype, true);
            }
        }
    }
}

fn check_product([m, k, n]: [usize; 3], recipe: Recipe, dtype: DType, alpha_per_row: bool) {
    let a = recipe.reference(&random(DType::BFloat16, &[m, k], 1));
    let b = Recipe { layout: TILES_128X4, ..recipe }.reference(&random(DType::BFloat16, &[n, k], 2));
    let alphas = random(DType::Float32, &[m], 3);
    let call = Call::default().with(&a[0]).with(&transposed(&b[0])).with(&a[1]).with(&transposed(&b[1]));
    let call = if alpha_per_row { call.with(&alphas) } else { call.with(0.5f32) };
    let call = call
        .named("out_dtype", dtype)
        .named("block_size", recipe.block)
        .named("use_8x4_sf_layout", recipe.layout.number == 2)
        .named("use_nvfp4", !recipe.e8m0);
    let expected = &call.of("mm_fp4")[0];

    let [a, b] = [a, b].map(|tensors| [upload(&tensors[0]), upload(&tensors[1])]);
    let out = Memory::unwritten(m * n * dtype.item_size());
    let alphas_memory = alpha_per_row.then(|| upload(&alphas));
    let argument = factor(Argument::structure(), &a, recipe.layout, k);
    let argument = factor(argument, &b, TILES_128X4, k)
        .memory(&out)
        .optional(alphas_memory.as_ref())
        .u32(m as u32)
        .u32(n as u32)
        .u32(k as u32)
        .u32(recipe.block as u32)
        .u32(u32::from(recipe.e8m0))
        .u32(type_code(dtype))
        .f32(0.5)
        .u32(0);
    launch("mm_fp4", tiles([1, m, n]), &[argument]);
    // A row whose alpha is 0 says nothing of its sums' size: the slack is a share of the largest element anyway.
    let what = format!("mm_fp4 {:?} {recipe:?} {dtype}", [m, k, n]);
    check_close(&download(&out, dtype, &[m, n]), expected, 2e-6, &what);
}
