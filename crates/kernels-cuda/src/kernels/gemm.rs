//! `gemm.cu`: a block for each tile of the product.

use callbox_core::{DType, ExecError, TensorBuf};
use callbox_functions::{FactorOrder, Product};

use super::launch::Launch;
use super::memory::{Memory, Run, empty};
use super::modules::Module;
use super::rows::Laid;
use super::types::{MOST_BLOCKS, MOST_BLOCKS_X, Suffixes, blocks, count, no_kernel, suffix, type_code};

/// Rows and columns of a tile, and threads of a block in both directions.
const TILE: usize = 64;
const THREADS: u32 = 16;
/// Dtypes of factors.
const FACTORS: Suffixes = &[
    (DType::Float8E4M3Fn, "e4m3"),
    (DType::Float8E5M2, "e5m2"),
    (DType::BFloat16, "bf16"),
    (DType::Float16, "f16"),
    (DType::Float32, "f32"),
];

/// `Product` in `gemm.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    a: u64,
    b: u64,
    out: u64,
    /// 0: there is none.
    bias: u64,
    a_batch_stride: i64,
    a_row_stride: i64,
    a_k_stride: i64,
    b_batch_stride: i64,
    b_k_stride: i64,
    b_column_stride: i64,
    m: u32,
    n: u32,
    k: u32,
    out_type: u32,
    bias_type: u32,
    a_scale: f32,
    b_scale: f32,
    alpha: f32,
}

const _: () = assert!(size_of::<Parameters>() == 112);

/// Solves [`Product`].
pub(super) fn multiply(run: &Run<'_>, problem: &Product<'_>) -> Result<TensorBuf, ExecError> {
    let sizes = problem.sizes;
    let name = kernel(problem.a.dtype(), problem.b.dtype())?;
    let out_type = type_code("result", problem.dtype)?;
    let bias_type = problem.bias.map_or(Ok(0), |bias| type_code("bias", bias.dtype()))?;
    let shape = match problem.a.shape().len() {
        2 => vec![sizes.m, sizes.n],
        _ => vec![sizes.batch, sizes.m, sizes.n],
    };
    if shape.contains(&0) {
        return Ok(empty(problem.dtype, &shape));
    }
    let launch = by_tiles(Module::Gemm, name, [sizes.batch, sizes.m, sizes.n])?;
    let (a_laid, b_laid) = (Laid::of(problem.a), Laid::of(problem.b));
    let (a, b) = (run.upload(&a_laid.bytes)?, run.upload(&b_laid.bytes)?);
    let bias = problem.bias.map(|bias| run.upload(&Laid::copied(bias).bytes)).transpose()?;
    let out = run.zeros_of(problem.dtype, &shape)?;
    let [a_batch_stride, a_row_stride, a_k_stride] = strides(&a_laid);
    let [b_batch_stride, b_first, b_second] = strides(&b_laid);
    let (b_k_stride, b_column_stride) = match problem.order {
        FactorOrder::KByN => (b_first, b_second),
        FactorOrder::NByK => (b_second, b_first),
    };
    let parameters = Parameters {
        a: a.address(),
        b: b.address(),
        out: out.address(),
        bias: bias.as_ref().map_or(0, Memory::address),
        a_batch_stride,
        a_row_stride,
        a_k_stride,
        b_batch_stride,
        b_k_stride,
        b_column_stride,
        m: count("a", sizes.m)?,
        n: count("b", sizes.n)?,
        k: count("a", sizes.k)?,
        out_type,
        bias_type,
        a_scale: problem.a_scale,
        b_scale: problem.b_scale,
        alpha: problem.alpha,
    };
    run.launch(&launch, &[&parameters])?;
    run.download_tensor(&out, problem.dtype, &shape)
}

fn kernel(a: DType, b: DType) -> Result<String, ExecError> {
    let (a_suffix, b_suffix) = (suffix("a", a, FACTORS)?, suffix("b", b, FACTORS)?);
    let is_fp8 = |dtype: DType| dtype.item_size() == 1;
    if a != b && !(is_fp8(a) && is_fp8(b)) {
        return Err(no_kernel("b", format_args!("{b} beside {a}")));
    }
    Ok(format!("gemm_{a_suffix}_{b_suffix}"))
}

/// Returns the strides of batch, first and second dimension of a matrix; 0 for a batch that is not there.
fn strides(laid: &Laid<'_>) -> [i64; 3] {
    match laid.strides[..] {
        [first, second] => [0, first as i64, second as i64],
        [batch, first, second] => [batch as i64, first as i64, second as i64],
        _ => unreachable!("factors have two dimensions, or three with their batch"),
    }
}

/// A block for each tile of a batch of products `[m, n]`.
pub(super) fn by_tiles(module: Module, name: String, [batch, m, n]: [usize; 3]) -> Result<Launch, ExecError> {
    let grid = [
        blocks("b", n.div_ceil(TILE), MOST_BLOCKS_X)?,
        blocks("a", m.div_ceil(TILE), MOST_BLOCKS)?,
        blocks("a", batch, MOST_BLOCKS)?,
    ];
    Ok(Launch { module, name, grid, block: [THREADS, THREADS, 1], shared_bytes: 0 })
}
