//! Statistics of a tensor.

use std::hint::black_box;

use anyhow::Context;
use callbox_core::{DType, Layout, Stats, TensorBuf};

use crate::harness::{Measurement, Target, Variant, race};

const ROUNDS: usize = 25;
const BYTES: usize = 64 << 20;
/// Tensors of 256 bytes.
const N_SMALL: usize = 10_000;

/// Measures large tensors of several dtypes, and many small ones.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let float32 = tensor(DType::Float32, BYTES)?;
    let mut variants = vec![Variant::new("plain sum of 64 MiB as f32", || {
        black_box(plain_sum(float32.storage()));
        Ok(())
    })];
    let large = [
        ("float32", float32.clone(), Target::Ratio(0.8)),
        ("float16", tensor(DType::Float16, BYTES)?, Target::Ratio(0.8)),
        ("bfloat16", tensor(DType::BFloat16, BYTES)?, Target::Ratio(0.7)),
        ("float8_e4m3fn", tensor(DType::Float8E4M3Fn, BYTES)?, Target::GigabytesPerSecond(3.0)),
        ("int64", tensor(DType::Int64, BYTES)?, Target::GigabytesPerSecond(3.0)),
    ];
    for (name, tensor, target) in &large {
        variants.push(Variant::new(*name, || take(tensor)).with_target(*target));
    }
    let half = half_of_each_row(&float32)?;
    variants.push(Variant::new("float16, every other 256 bytes", move || take(&half)));
    let mut measurements = race(ROUNDS, Some(BYTES as u64), variants)?;

    let small = tensor(DType::Float32, 256)?;
    let many = Variant::new("10,000 float32 tensors of 256 bytes", || {
        (0..N_SMALL).try_for_each(|_| take(black_box(&small)))
    });
    measurements.extend(race(ROUNDS, None, vec![many])?);
    Ok(measurements)
}
