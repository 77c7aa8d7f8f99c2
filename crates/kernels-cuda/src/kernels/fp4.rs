//! `fp4.cu`: quantising with a thread for each scale, and products with a block for each tile.

use callbox_core::{DType, ExecError, TensorBuf};
use callbox_functions::{
    BlockScales, Factors, Fp4Codes, Fp4Product, Fp4Quantize, ScaleFormat, ScaleLayout, ScaleRule,
};

use super::gemm::by_tiles;
use super::launch::Launch;
use super::memory::{Memory, Run, empty};
use super::modules::Module;
use super::rows::{Laid, Rows};
use super::types::{Suffixes, count, floats, suffix, type_code};

const THREADS: u32 = 128;
/// Blocks that quantise; where there are more scales, each has several.
const MOST_QUANTIZING: usize = 4096;

/// The dtypes that can be quantised.
const QUANTIZABLE: Suffixes = &[
    (DType::Float16, "f16"),
    (DType::BFloat16, "bf16"),
    (DType::Float32, "f32"),
    (DType::Float8E4M3Fn, "e4m3"),
];

/// `Quantization` in `fp4.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct QuantizationParameters {
    input: u64,
    codes: u64,
    scales: u64,
    row_stride: i64,
    element_stride: i64,
    rows: u32,
    width: u32,
    block: u32,
    layout: u32,
    e8m0: u32,
    global_scale: f32,
}

const _: () = assert!(size_of::<QuantizationParameters>() == 64);

/// `Fp4Factor` in `fp4.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    codes: u64,
    scales: u64,
    row_stride: i64,
    pair_stride: i64,
    layout: u32,
    unused: u32,
}

/// `Fp4Product` in `fp4.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ProductParameters {
    a: Factor,
    b: Factor,
    out: u64,
    /// 0: `alpha` is for all rows.
    alphas: u64,
    m: u32,
    n: u32,
    k: u32,
    block: u32,
    e8m0: u32,
    out_type: u32,
    alpha: f32,
    unused: u32,
}

const _: () = assert!(size_of::<ProductParameters>() == 128);

/// Solves [`Fp4Quantize`].
pub(super) fn quantize(run: &Run<'_>, problem: &Fp4Quantize<'_>) -> Result<Fp4Codes, ExecError> {
    let (input, grid) = (problem.input, problem.grid);
    let name = format!("fp4_quantize_{}", suffix("input", input.dtype(), QUANTIZABLE)?);
    let mut codes_shape = input.shape().to_vec();
    codes_shape.splice(codes_shape.len() - 1.., [problem.width / 2]);
    let scales_shape = grid.shape();
    if grid.byte_len() == 0 {
        let [codes, scales] = [&codes_shape[..], &scales_shape].map(|shape| empty(DType::UInt8, shape));
        return Ok(Fp4Codes { codes, scales });
    }
    let rows = Rows::upload(run, input)?;
    let codes = run.zeros_of(DType::UInt8, &codes_shape)?;
    let scales = run.zeros_of(DType::UInt8, &scales_shape)?;
    let (e8m0, global_scale) = match problem.rule {
        ScaleRule::E4m3 { global } => (0, global),
        ScaleRule::E8m0 => (1, 1.0),
    };
    let parameters = QuantizationParameters {
        input: rows.memory.address(),
        codes: codes.address(),
        scales: scales.address(),
        row_stride: rows.stride,
        element_stride: rows.element_stride,
        rows: count("input", input.numel() / problem.width)?,
        width: count("input", problem.width)?,
        block: count("sf_vec_size", problem.block)?,
        layout: layout_number(grid.layout()),
        e8m0,
        global_scale,
    };
    let blocks = grid.byte_len().div_ceil(THREADS as usize).min(MOST_QUANTIZING);
    let grid = [count("input", blocks)?, 1, 1];
    let launch = Launch { module: Module::Fp4, name, grid, block: [THREADS, 1, 1], shared_bytes: 0 };
    run.launch(&launch, &[&parameters])?;
    Ok(Fp4Codes {
        codes: run.download_tensor(&codes, DType::UInt8, &codes_shape)?,
        scales: run.download_tensor(&scales, DType::UInt8, &scales_shape)?,
    })
}

/// Solves [`Fp4Product`].
pub(super) fn multiply(run: &Run<'_>, problem: &Fp4Product<'_>) -> Result<TensorBuf, ExecError> {
    let sizes = problem.sizes;
    let shape = [sizes.m, sizes.n];
    let out_type = type_code("result", problem.dtype)?;
    if shape.contains(&0) {
        return Ok(empty(problem.dtype, &shape));
    }
    let launch = by_tiles(Module::Fp4, "mm_fp4".to_owned(), [1, sizes.m, sizes.n])?;
    let a = Uploaded::new(run, problem.a, &problem.a_scales)?;
    let b = Uploaded::new(run, problem.b, &problem.b_scales)?;
    let (alpha, alphas) = match problem.alpha {
        Factors::Same(alpha) => (alpha, None),
        Factors::Each(alphas) => (1.0, Some(run.upload_numbers(&floats("alpha", alphas)?)?)),
    };
    let out = run.zeros_of(problem.dtype, &shape)?;
    let parameters = ProductParameters {
        a: a.parameters(),
        b: b.parameters(),
        out: out.address(),
        alphas: alphas.as_ref().map_or(0, Memory::address),
        m: count("a", sizes.m)?,
        n: count("b", sizes.n)?,
        k: count("a", sizes.k)?,
        block: count("block_size", problem.block)?,
        e8m0: match problem.a_scales.format {
            ScaleFormat::E4m3 => 0,
            ScaleFormat::E8m0 => 1,
        },
        out_type,
        alpha,
        unused: 0,
    };
    run.launch(&launch, &[&parameters])?;
    run.download_tensor(&out, problem.dtype, &shape)
}

/// A factor on the device.
struct Uploaded {
    codes: Memory,
    scales: Memory,
    strides: [i64; 2],
    layout: ScaleLayout,
}

impl Uploaded {
    fn new(run: &Run<'_>, codes: &TensorBuf, scales: &BlockScales<'_>) -> Result<Uploaded, ExecError> {
        let laid = Laid::of(codes);
        let [row, pair] = laid.strides[..] else { unreachable!("a factor is a matrix") };
        Ok(Uploaded {
            codes: run.upload(&laid.bytes)?,
            scales: run.upload(&Laid::copied(scales.bytes).bytes)?,
            strides: [row as i64, pair as i64],
            layout: scales.grid.layout(),
        })
    }

    fn parameters(&self) -> Factor {
        let [row_stride, pair_stride] = self.strides;
        let (codes, scales) = (self.codes.address(), self.scales.address());
        Factor { codes, scales, row_stride, pair_stride, layout: layout_number(self.layout), unused: 0 }
    }
}

/// The number of an order in `fp4.cu`.
fn layout_number(layout: ScaleLayout) -> u32 {
    match layout {
        ScaleLayout::Linear => 0,
        ScaleLayout::Tiles128x4 => 1,
        ScaleLayout::Tiles8x4 => 2,
    }
}
