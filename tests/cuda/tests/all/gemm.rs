//! `gemm.cu` against the reference's products.

use callbox_core::{DType, Layout, TensorBuf};
use callbox_cuda_tests::{Argument, Launch, Memory};

use crate::trial::{Call, check_close, download, launch, random, type_code, upload};

const TILE: usize = 64;

/// A launch with a block for each tile of the result.
pub(crate) fn tiles([batch, m, n]: [usize; 3]) -> Launch {
    let grid = [n.div_ceil(TILE), m.div_ceil(TILE), batch].map(|blocks| blocks as u32);
    Launch { grid, block: [16, 16, 1], shared_bytes: 0 }
}

/// The same elements in another order in memory: the last two dimensions are stored the other way round.
fn column_major(tensor: &TensorBuf) -> TensorBuf {
    let [batch, rows, columns] = tensor.shape().try_into().unwrap();
    let layout = Layout::new(&[batch, rows, columns], &[rows * columns, 1, rows], 0).unwrap();
    let storage = vec![0; layout.end() * tensor.dtype().item_size()];
    let mut turned = TensorBuf::new(tensor.dtype(), layout, storage.into()).unwrap();
    turned.write_elements(&tensor.to_bytes()).unwrap();
    turned
}

fn without_batch(tensor: &TensorBuf) -> TensorBuf {
    let layout = tensor.layout();
    let layout = Layout::new(&layout.shape()[1..], &layout.strides()[1..], layout.offset()).unwrap();
    tensor.with_layout(layout).unwrap()
}

/// What a product is multiplied by, and what is added to it.
#[derive(Clone, Copy, Debug)]
struct Extras<'a> {
    scales: [f32; 2],
    alpha: f32,
    bias: Option<&'a TensorBuf>,
}

const NONE: Extras<'_> = Extras { scales: [1.0, 1.0], alpha: 1.0, bias: None };

/// Multiplies `a` `[batch, m, k]` by `b` `[batch, k, n]`.
fn run(suffix: &str, [a, b]: [&TensorBuf; 2], extras: Extras<'_>, out_dtype: DType) -> TensorBuf {
    let [batch, m, k] = a.shape().try_into().unwrap();
    let n = b.shape()[2];
    let out = Memory::unwritten(batch * m * n * out_dtype.item_size());
    let (a_memory, b_memory, bias) = (upload(a), upload(b), extras.bias.map(upload));
    let argument =
        Argument::structure().memory(&a_memory).memory(&b_memory).memory(&out).optional(bias.as_ref());
    let strides = [a.layout().strides(), b.layout().strides()].concat();
    let argument = strides.into_iter().fold(argument, |argument, stride| argument.i64(stride as i64));
    let argument = argument
        .u32(m as u32)
        .u32(n as u32)
        .u32(k as u32)
        .u32(type_code(out_dtype))
        .u32(extras.bias.map_or(0, |bias| type_code(bias.dtype())))
        .f32(extras.scales[0])
        .f32(extras.scales[1])
        .f32(extras.alpha);
    launch(&format!("gemm_{suffix}"), tiles([batch, m, n]), &[argument]);
    download(&out, out_dtype, &[batch, m, n])
}

/// `[batch, m, k, n]`: lengths that do not divide the tiles, and none of k.
const SIZES: [[usize; 4]; 5] =
    [[1, 1, 1, 1], [3, 7, 33, 5], [1, 65, 16, 70], [2, 10, 0, 3], [1, 64, 100, 64]];
const FP8: [(DType, &str); 2] = [(DType::Float8E4M3Fn, "e4m3"), (DType::Float8E5M2, "e5m2")];

#[test]
fn bmm_fp8_agrees_with_the_reference() {
    for (a_dtype, a_suffix) in FP8 {
        for (b_dtype, b_suffix) in FP8 {
            for [batch, m, k, n] in SIZES {
                let a = random(a_dtype, &[batch, m, k], 1);
                let b = random(b_dtype, &[batch, k, n], 2);
                for b in [b.clone(), column_major(&b)] {
                    for dtype in [DType::BFloat16, DType::Float16, DType::Float32] {
                        let call = Call::default().with(&a).with(&b).with(0.75f32).with(1.5f32).with(dtype);
                        let extras = Extras { scales: [0.75, 1.5], ..NONE };
                        let actual = run(&format!("{a_suffix}_{b_suffix}"), [&a, &b], extras, dtype);
                        let what = format!("{a_suffix} {b_suffix} {dtype} {:?} of {a:?}", b.layout());
                        check_close(&actual, &call.of("bmm_fp8")[0], 2e-6, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn mm_fp8_agrees_with_the_reference() {
    for [_, m, k, n] in SIZES {
        let a = random(DType::Float8E4M3Fn, &[1, m, k], 3);
        let b = column_major(&random(DType::Float8E4M3Fn, &[1, k, n], 4));
        // The function takes the columns: [n, k].
        let columns = Layout::new(&[n, k], &[k, 1], 0).unwrap();
        let columns = b.with_layout(columns).unwrap();
        let call = Call::default().with(&without_batch(&a)).with(&columns).with(0.25f32);
        let expected = call.named("backend", "cutlass").of("mm_fp8");
        let actual = run("e4m3_e4m3", [&a, &b], Extras { alpha: 0.25, ..NONE }, DType::BFloat16);
        let expected = TensorBuf::from_elements(DType::BFloat16, &[1, m, n], expected[0].to_bytes()).unwrap();
        check_close(&actual, &expected, 2e-6, &format!("mm_fp8 {:?}", [m, k, n]));
    }
}

#[test]
fn products_of_16_and_32_bits_agree_with_the_reference() {
    let types = [(DType::BFloat16, "bf16_bf16"), (DType::Float16, "f16_f16"), (DType::Float32, "f32_f32")];
    for (dtype, suffix) in types {
        for [batch, m, k, n] in SIZES {
            let a = column_major(&random(dtype, &[batch, m, k], 5));
            let b = column_major(&random(dtype, &[batch, k, n], 6));
            let call = Call::default().with(&a).with(&b).named("out_dtype", DType::Float32);
            let actual = run(suffix, [&a, &b], NONE, DType::Float32);
            check_close(&actual, &call.of("bmm_bf16")[0], 2e-6, suffix);

            let (a, b) = (random(dtype, &[1, m, k], 7), random(dtype, &[1, k, n], 8));
            let bias = random(DType::BFloat16, &[n], 9);
            let call = Call::default().with(&without_batch(&a)).with(&without_batch(&b)).with(&bias);
            let expected = call.named("out_dtype", dtype).of("mm_bf16");
            let expected = TensorBuf::from_elements(dtype, &[1, m, n], expected[0].to_bytes()).unwrap();
            let actual = run(suffix, [&a, &b], Extras { bias: Some(&bias), ..NONE }, dtype);
            check_close(&actual, &expected, 2e-6, suffix);
        }
    }
}
