//! A softmax that is corrected as keys come in (Milakov and Gimelshein, "Online normalizer calculation for
//! softmax", 2018).

use std::f32::consts::LOG2_E;
use std::ops::Range;

use crate::matmul::{Matrix, sgemm};
use crate::sum::sum;

/// Weighted sums of values, one for each row, over the keys that came so far.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The greatest logit; -inf before the first key.
    max: Vec<f32>,
    /// Sum of `exp(logit - max)`; in the end the log-sum-exp.
    sum: Vec<f32>,
    /// Sum of `exp(logit - max) * value`, `[rows, width]`; in the end the output.
    output: Vec<f32>,
    /// Elements of a value.
    width: usize,
}

impl Rows {
    pub(crate) fn new(rows: usize, width: usize) -> Rows {
        Rows {
            max: vec![f32::NEG_INFINITY; rows],
            sum: vec![0.0; rows],
            output: vec![0.0; rows * width],
            width,
        }
    }

    /// Turns the logits of further keys to weights `exp(logit - max)` and adds them to the row's sum.
    ///
    /// Where they raise the row's maximum, what the row has already is scaled down to it. The logit of a key
    /// that the row does not see is -inf.
    pub(crate) fn weigh(&mut self, row: usize, logits: &mut [f32]) {
        let max = logits.iter().copied().fold(self.max[row], f32::max);
        // Before the first key there is nothing to subtract: exp(-inf - 0) is the 0 that is wanted.
        let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
        if max != self.max[row] {
            let correction = (self.max[row] - shift).exp();
            self.sum[row] *= correction;
            self.output[row * self.width..][..self.width].iter_mut().for_each(|value| *value *= correction);
            self.max[row] = max;
        }
        logits.iter_mut().for_each(|logit| *logit = (*logit - shift).exp());
        self.sum[row] += sum(logits, |weight| weight);
    }

    /// Adds the values of the keys that were weighed last, for the rows of a tile: `values` `[keys, width]`,
    /// `weights` `[tile, keys]`. `product` is scratch.
    pub(crate) fn add(
        &mut self,
        tile: Range<usize>,
        weights: &[f32],
        values: &[f32],
        product: &mut Vec<f32>,
    ) {
        let (rows, keys) = (tile.len(), values.len() / self.width);
        let output = &mut self.output[tile.start * self.width..][..rows * self.width];
        if values.iter().all(|value| value.is_finite()) {
            product.resize(output.len(), 0.0);
            let weights = Matrix::row_major(weights, rows, keys);
            sgemm(weights, Matrix::row_major(values, keys, self.width), product);
            add_scaled(output, 1.0, product);
            return;
        }
        // In a matrix product an infinite value would reach rows that do not see it: 0 * inf is NaN.
        for (output, weights) in output.chunks_exact_mut(self.width).zip(weights.chunks_exact(keys)) {
            for (&weight, value) in weights.iter().zip(values.chunks_exact(self.width)) {
                if weight != 0.0 {
                    add_scaled(output, weight, value);
                }
            }
        }
    }

    /// Divides a row by the sum of its weights, multiplies it, and takes the logarithm of the sum.
    ///
    /// A row without weights is 0, and its logarithm -inf.
    pub(crate) fn finish(&mut self, row: usize, scale: f32) {
        let sum = self.sum[row];
        if sum == 0.0 {
            self.sum[row] = f32::NEG_INFINITY;
            return;
        }
        let factor = scale / sum;
        self.output[row * self.width..][..self.width].iter_mut().for_each(|value| *value *= factor);
        self.sum[row] = (self.max[row] + sum.ln()) * LOG2_E;
    }

    /// Iterates over groups of neighbouring rows that are finished: output and log-sum-exp, base 2.
    pub(crate) fn groups(&self, group: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.output.chunks_exact(group * self.width).zip(self.sum.chunks_exact(group))
    }
}

fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}
