//! Statistics of tensors in memory.

use std::hint::black_box;

use callbox_core::{DType, Layout, Statistics, TensorBuf};

use crate::harness::{Measurement, Target, Variant, race};

const ROUNDS: usize = 25;
const BYTES: usize = 64 << 20;
const N_SMALL: usize = 1000;
const SMALL_BYTES: usize = 256;

/// Measures a large tensor of each of several dtypes, a large view with gaps, and small tensors.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    for (dtype, target) in [
        (DType::Float32, Target::Ratio(0.8)),
        (DType::Float16, Target::Ratio(0.8)),
        (DType::BFloat16, Target::Ratio(0.7)),
        (DType::Float8E4M3Fn, Target::GigabytesPerSecond(3.0)),
    ] {
        measurements.extend(measure_large(dtype, target)?);
    }

    let whole = tensor(DType::Float16, BYTES)?;
    let rows = whole.with_layout(Layout::new(&[BYTES / 512, 128], &[256, 1], 0)?)?;
    let gaps = Variant::new("float16, every second 256 bytes", || take(&rows));
    measurements.extend(race(ROUNDS, Some(BYTES as u64 / 2), vec![gaps])?);

    let small = tensor(DType::Float32, SMALL_BYTES)?;
    let many = Variant::new("1,000 float32 of 256 bytes", || (0..N_SMALL).try_for_each(|_| take(&small)));
    measurements.extend(race(ROUNDS, Some((N_SMALL * SMALL_BYTES) as u64), vec![many])?);
    Ok(measurements)
}

fn measure_large(dtype: DType, target: Target) -> anyhow::Result<Vec<Measurement>> {
    let tensor = tensor(dtype, BYTES)?;
    let sum = Variant::new("plain sum as float32", || {
        black_box(plain_sum(black_box(tensor.storage())));
        Ok(())
    });
    let statistics = Variant::new(format!("statistics of {}", dtype.name()), || take(&tensor));
    race(ROUNDS, Some(BYTES as u64), vec![sum, statistics.with_target(target)])
}

fn take(tensor: &TensorBuf) -> anyhow::Result<()> {
    match Statistics::of(&black_box(tensor).as_view()) {
        Statistics::Taken(stats) => {
            black_box(stats);
            Ok(())
        }
        other => anyhow::bail!("no statistics: {other:?}"),
    }
}

/// Fills a tensor with values between -8 and 8 of all magnitudes: some are subnormal in float16.
fn tensor(dtype: DType, bytes: usize) -> anyhow::Result<TensorBuf> {
    let numel = bytes / dtype.item_size();
    let values: Vec<f32> = (0..numel.min(1 << 20) as u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b9) as f32 / (1u32 << 30) as f32 - 2.0).powi(3))
        .collect();
    let part = TensorBuf::from_f32(dtype, &[values.len()], &values)?;
    let elements = part.storage().repeat(numel / values.len());
    Ok(TensorBuf::from_elements(dtype, &[numel], elements)?)
}

/// Adds up little-endian f32, in as many sums side by side as the memory needs to be the limit.
fn plain_sum(bytes: &[u8]) -> f32 {
    let mut sums = [0.0; 64];
    for values in bytes.as_chunks().0.as_chunks::<64>().0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f32::from_le_bytes(*value);
        }
    }
    sums.iter().sum()
}
