//! Random tensors that are the same in every run.

use callbox::{DType, TensorBuf};

/// A generator of normal numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Draws `count` numbers from a normal distribution of mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let (radius, angle) = (self.uniform(), self.uniform());
                ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
            })
            .collect()
    }

    /// Draws a contiguous tensor of normal numbers, rounded to `dtype`.
    pub fn tensor(&mut self, dtype: DType, shape: &[usize]) -> anyhow::Result<TensorBuf> {
        let values = self.normal(shape.iter().product());
        Ok(TensorBuf::from_f32(dtype, shape, &values)?)
    }

    /// Draws from the open interval between 0 and 1 (splitmix64).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON
    }
}
