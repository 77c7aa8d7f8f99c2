//! Records one call of `bmm_fp8`.
//!
//! ```sh
//! FLASHINFER_LOGLEVEL=10 FLASHINFER_DUMP_DIR=bmm_fp8_dumps cargo run --release -p callbox-examples --bin bmm_fp8_producer
//! ```

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use anyhow::Result;
use callbox::core::Layout;
use callbox::{DType, TensorBuf};
use callbox_examples::flashinfer::bmm_fp8;
use callbox_examples::random::Random;

const BATCH: usize = 4;
const M: usize = 64;
const N: usize = 128;
const K: usize = 256;
/// The largest number of float8_e4m3fn.
const FP8_MAX: f32 = 448.0;

fn main() -> Result<()> {
    let _recording = callbox::from_env();
    let mut random = Random::new(0);

    let (input, input_scale) = to_float8(&random.normal(BATCH * M * K), &[BATCH, M, K])?;
    // Row-major [batch, n, k], seen as column-major [batch, k, n].
    let (mat2, mat2_scale) = to_float8(&random.normal(BATCH * N * K), &[BATCH, N, K])?;
    let mat2 = mat2.with_layout(Layout::new(&[BATCH, K, N], &[N * K, 1, K], 0)?)?;
    let mut out = TensorBuf::from_f32(DType::BFloat16, &[BATCH, M, N], &vec![0.0; BATCH * M * N])?;

    bmm_fp8(&input, &mat2, &input_scale, &mat2_scale, DType::BFloat16, &mut out, "cublas")?;

    println!("Output shape: {:?}", out.shape());
    println!("Output[0, 0, :3]: {:?}", &out.to_f32()?[..3]);
    Ok(())
}

/// Scales a tensor to the range of float8_e4m3fn; gives it and the factor that undoes the scaling.
fn to_float8(values: &[f32], shape: &[usize]) -> Result<(TensorBuf, TensorBuf)> {
    let largest = values.iter().fold(1e-12f32, |largest, value| largest.max(value.abs()));
    let scale = FP8_MAX / largest;
    let scaled: Vec<f32> = values.iter().map(|value| (value * scale).clamp(-FP8_MAX, FP8_MAX)).collect();
    let scale = TensorBuf::from_f32(DType::Float32, &[], &[scale.recip()])?;
    Ok((TensorBuf::from_f32(DType::Float8E4M3Fn, shape, &scaled)?, scale))
}
