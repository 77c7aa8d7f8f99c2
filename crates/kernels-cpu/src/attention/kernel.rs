//! The computation: attention by blocks of keys, with a softmax that is corrected as it goes.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use callbox_core::ExecError;
use rayon::prelude::*;

use super::options::{Encoding, alibi_slope};
use super::problem::{Problem, Sequence};
use super::vectors::{Place, Vectors};
use crate::matmul::{Matrix, sgemm};
use crate::rope::{self, Pairing, Turn};
use crate::sum::sum;

/// Keys of a block, unless their vectors are very long.
const BLOCK_KEYS: usize = 512;
/// Elements of a block of keys, or of values.
const BLOCK_ELEMENTS: usize = 1 << 18;
/// Query rows that are multiplied with a block at a time.
const TILE_ROWS: usize = 128;

/// The output and the log-sum-exp of each query row and head.
#[derive(Debug)]
pub(crate) struct Attention {
    /// `[rows, qo_heads, d_vo]`, row-major.
    pub(crate) output: Vec<f32>,
    /// `[rows, qo_heads]`, row-major; base 2.
    pub(crate) lse: Vec<f32>,
}

/// Computes scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017); the module
/// [`super`] has the formula.
///
/// Softmax and sums are taken in f32, by blocks of keys: sums of the keys so far are scaled down whenever a
/// greater logit turns up (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). Keys
/// that no row of a block sees are not read. Kv heads of sequences run in parallel; the result does not
/// depend on how many run at a time.
///
/// A key that a row does not see never reaches the row's result, not even where it is infinite or NaN. A row
/// without keys has the output 0 and the log-sum-exp -inf.
pub(crate) fn attend(problem: &Problem<'_>) -> Result<Attention, ExecError> {
    let operands = problem.operands;
    let numel = operands.output_numel()?;
    let [n_rows, heads, width] = operands.output_shape();
    let group = operands.group();
    let jobs: Vec<Job<'_>> = problem
        .sequences
        .iter()
        .filter(|sequence| !sequence.rows.is_empty())
        .flat_map(|sequence| {
            (0..operands.keys().heads()).map(move |kv_head| Job {
                problem,
                sequence,
                kv_head,
            })
        })
        .collect();
    let results: Vec<Rows> = jobs.par_iter().map(Job::run).collect();

    let mut output = vec![0.0; numel];
    let mut lse = vec![f32::NEG_INFINITY; n_rows * heads];
    for (job, rows) in jobs.iter().zip(&results) {
        for (query, (values, logs)) in rows.split(group, width).enumerate() {
            let first = (job.sequence.rows.start + query) * heads + job.kv_head * group;
            output[first * width..][..group * width].copy_from_slice(values);
            lse[first..][..group].copy_from_slice(logs);
        }
    }
    Ok(Attention { output, lse })
}

/// One kv head of one sequence, with the query heads that share it.
///
/// Row `r` is query `r / group`, head `r % group` of the group.
#[derive(Debug)]
struct Job<'a> {
    problem: &'a Problem<'a>,
    sequence: &'a Sequence<'a>,
    kv_head: usize,
}

/// What is known of each row after some of its keys.
#[derive(Debug)]
struct Rows {
    /// The greatest logit; -inf before the first key.
    max: Vec<f32>,
    /// Sum of `exp(logit - max)`; in the end the log-sum-exp.
    sum: Vec<f32>,
    /// Sum of `exp(logit - max) * value`, `[rows, d_vo]`; in the end the output.
    output: Vec<f32>,
}

impl Rows {
    /// Iterates over the queries: outputs and log-sum-exps of a group of heads each.
    fn split(&self, group: usize, width: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
        let logs = self.sum.chunks_exact(group).enumerate();
        logs.map(move |(query, logs)| (&self.output[query * group * width..][..group * width], logs))
    }
}

/// Buffers that one job uses again and again.
#[derive(Debug, Default)]
struct Buffers {
    keys: Vec<f32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    product: Vec<f32>,
}

impl Job<'_> {
    fn run(&self) -> Rows {
        let (width, width_vo) = self.widths();
        let queries = self.queries();
        let n_rows = self.sequence.rows.len() * self.group();
        let mut rows = Rows {
            max: vec![f32::NEG_INFINITY; n_rows],
            sum: vec![0.0; n_rows],
            output: vec![0.0; n_rows * width_vo],
        };
        let mut buffers = Buffers::default();
        let block_len = (BLOCK_ELEMENTS / width.max(width_vo)).clamp(1, BLOCK_KEYS);
        let seen = self.seen(0..n_rows);
        for start in seen.clone().step_by(block_len) {
            let block = start..seen.end.min(start + block_len);
            self.gather_keys(block.clone(), &mut buffers.keys);
            self.gather(self.problem.operands.values(), block.clone(), &mut buffers.values);
            for tile_start in (0..n_rows).step_by(TILE_ROWS) {
                let tile = tile_start..n_rows.min(tile_start + TILE_ROWS);
                self.absorb(&queries, &block, tile, &mut buffers, &mut rows);
            }
        }
        self.finish(&mut rows);
        rows
    }

    /// Reads the queries, `[rows, d]`, and turns them to their places.
    fn queries(&self) -> Vec<f32> {
        let (vectors, group) = (self.problem.operands.queries(), self.group());
        let width = vectors.width();
        let mut rows = vec![0.0; self.sequence.rows.len() * group * width];
        for (row, out) in rows.chunks_exact_mut(width).enumerate() {
            let slot = self.sequence.rows.start + row / group;
            vectors.read(Place { page: 0, slot }, self.kv_head * group + row % group, out);
        }
        // A query stands at the place of a key, the last at the last; before the first key it is negative.
        let first = self.sequence.keys.len() as i64 - self.sequence.rows.len() as i64;
        self.turn(&mut rows, |row| (first + (row / group) as i64) as f32);
        rows
    }

    /// Reads a block of keys, `[keys, d]`, and turns them to their places.
    fn gather_keys(&self, block: Range<usize>, out: &mut Vec<f32>) {
        let start = block.start;
        self.gather(self.problem.operands.keys(), block, out);
        self.turn(out, |key| (start + key) as f32);
    }

    fn gather(&self, vectors: &Vectors, block: Range<usize>, out: &mut Vec<f32>) {
        let width = vectors.width();
        out.resize(block.len() * width, 0.0);
        for (token, out) in block.zip(out.chunks_exact_mut(width)) {
            vectors.read(self.sequence.keys.place(token), self.kv_head, out);
        }
    }

    /// Applies the rotary embedding to vectors of `d` elements, if there is one.
    fn turn(&self, vectors: &mut [f32], position: impl Fn(usize) -> f32) {
        let Encoding::RopeLlama { scale, theta } = self.problem.encoding else {
            return;
        };
        let (width, _) = self.widths();
        let mut frequencies = rope::frequencies(width, theta);
        frequencies.iter_mut().for_each(|frequency| *frequency /= scale);
        for (index, vector) in vectors.chunks_exact_mut(width).enumerate() {
            Turn::at(position(index), &frequencies).apply(vector, Pairing::Halves);
        }
    }

    /// Returns the keys that any of these rows sees by the bounds.
    fn seen(&self, rows: Range<usize>) -> Range<usize> {
        let (queries, keys) = (self.sequence.rows.len(), self.sequence.keys.len());
        let of = |row: usize| self.problem.bounds.of(row / self.group(), queries, keys);
        of(rows.start).start..of(rows.end - 1).end
    }

    /// Adds a block of keys to a tile of rows.
    fn absorb(
        &self,
        queries: &[f32],
        block: &Range<usize>,
        tile: Range<usize>,
        buffers: &mut Buffers,
        rows: &mut Rows,
    ) {
        let (width, width_vo) = self.widths();
        let seen = self.seen(tile.clone());
        let keys = seen.start.max(block.start)..seen.end.min(block.end);
        if keys.is_empty() {
            return;
        }
        let in_block = keys.start - block.start;
        let n_keys = keys.len();

        buffers.weights.resize(tile.len() * n_keys, 0.0);
        let tile_queries = Matrix::row_major(&queries[tile.start * width..], tile.len(), width);
        let tile_keys = Matrix::row_major(&buffers.keys[in_block * width..], n_keys, width);
        sgemm(tile_queries, tile_keys.transposed(), &mut buffers.weights);

        for (row, weights) in tile.clone().zip(buffers.weights.chunks_exact_mut(n_keys)) {
            self.logits(row, keys.clone(), weights);
            let output = &mut rows.output[row * width_vo..][..width_vo];
            weigh(weights, &mut rows.max[row], &mut rows.sum[row], output);
        }

        let values = &buffers.values[in_block * width_vo..][..n_keys * width_vo];
        let output = &mut rows.output[tile.start * width_vo..][..tile.len() * width_vo];
        if values.iter().all(|value| value.is_finite()) {
            buffers.product.resize(tile.len() * width_vo, 0.0);
            let tile_weights = Matrix::row_major(&buffers.weights, tile.len(), n_keys);
            let tile_values = Matrix::row_major(values, n_keys, width_vo);
            sgemm(tile_weights, tile_values, &mut buffers.product);
            add_scaled(output, 1.0, &buffers.product);
        } else {
            // In a matrix product an infinite value would reach rows that do not see it: 0 * inf is NaN.
            let weights = buffers.weights.chunks_exact(n_keys);
            for (weights, output) in weights.zip(output.chunks_exact_mut(width_vo)) {
                let seen = weights.iter().zip(values.chunks_exact(width_vo));
                seen.filter(|(weight, _)| **weight != 0.0)
                    .for_each(|(&weight, value)| add_scaled(output, weight, value));
            }
        }
    }

    /// Makes logits of a row's products with these keys; those of keys that it does not see become -inf.
    fn logits(&self, row: usize, keys: Range<usize>, products: &mut [f32]) {
        let problem = self.problem;
        let (query, head) = (row / self.group(), self.query_head(row));
        let (queries, n_keys) = (self.sequence.rows.len(), self.sequence.keys.len());
        let bounds = problem.bounds.of(query, queries, n_keys);
        let start = bounds.start.clamp(keys.start, keys.end);
        let end = bounds.end.clamp(start, keys.end);
        let (before, rest) = products.split_at_mut(start - keys.start);
        let (logits, behind) = rest.split_at_mut(end - start);
        before.fill(f32::NEG_INFINITY);
        behind.fill(f32::NEG_INFINITY);

        let scales = &problem.head_scales;
        let scale = problem.sm_scale * scales.q.of(head) * scales.k.of(self.kv_head);
        logits.iter_mut().for_each(|logit| *logit *= scale);
        if problem.encoding == Encoding::Alibi {
            let slope = alibi_slope(head, problem.operands.queries().heads());
            for (key, logit) in (start..end).zip(&mut *logits) {
                *logit += slope * (key as f32 - query as f32);
            }
        }
        if let Some(cap) = problem.soft_cap {
            logits
                .iter_mut()
                .for_each(|logit| *logit = cap * (*logit / cap).tanh());
        }
        if let Some(mask) = self.sequence.mask {
            for (key, logit) in (start..end).zip(logits) {
                if !mask.sees(query * n_keys + key) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Adds the sinks, divides by the sums of weights, and takes the logarithms.
    fn finish(&self, rows: &mut Rows) {
        let problem = self.problem;
        let scale = problem.v_scale * problem.head_scales.v.of(self.kv_head);
        let (_, width_vo) = self.widths();
        let outputs = rows.output.chunks_exact_mut(width_vo);
        for (row, output) in outputs.enumerate() {
            let (max, sum) = (&mut rows.max[row], &mut rows.sum[row]);
            if let Some(sinks) = &problem.sinks {
                weigh(&mut [sinks[self.query_head(row)]], max, sum, output);
            }
            if *sum == 0.0 {
                *sum = f32::NEG_INFINITY;
                continue;
            }
            let factor = scale / *sum;
            output.iter_mut().for_each(|value| *value *= factor);
            *sum = (*max + sum.ln()) * LOG2_E;
        }
    }

    fn group(&self) -> usize {
        self.problem.operands.group()
    }

    fn query_head(&self, row: usize) -> usize {
        self.kv_head * self.group() + row % self.group()
    }

    /// Returns the elements of a query or key, and of a value.
    fn widths(&self) -> (usize, usize) {
        let operands = self.problem.operands;
        (operands.queries().width(), operands.values().width())
    }
}

/// Turns logits to weights `exp(logit - max)`, where `max` is the greatest logit of the row so far, and
/// adds them to the row's sum; what the row has already is scaled down to the new maximum.
fn weigh(logits: &mut [f32], max: &mut f32, row_sum: &mut f32, output: &mut [f32]) {
    let new_max = logits.iter().copied().fold(*max, f32::max);
    // Without a key that is seen there is nothing to subtract: exp(-inf - 0) is the 0 that is wanted.
    let shift = if new_max == f32::NEG_INFINITY {
        0.0
    } else {
        new_max
    };
    if new_max != *max {
        let correction = (*max - shift).exp();
        *row_sum *= correction;
        output.iter_mut().for_each(|value| *value *= correction);
        *max = new_max;
    }
    logits
        .iter_mut()
        .for_each(|logit| *logit = (*logit - shift).exp());
    *row_sum += sum(logits, |weight| weight);
}

fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += factor * value;
    }
}
