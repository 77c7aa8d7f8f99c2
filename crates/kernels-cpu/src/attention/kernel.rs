//! The computation: attention by blocks of keys.

use std::ops::Range;

use callbox_core::{DType, ExecError};
use callbox_functions::{Attended, Attention, Pairing, Place, PositionEncoding, Sequence, Vectors};
use rayon::prelude::*;

use super::softmax::Rows;
use crate::matmul::{Matrix, sgemm};
use crate::numbers::{self, FactorValues};
use crate::rope::Turn;

/// Keys of a block, unless their vectors are very long.
const BLOCK_KEYS: usize = 512;
/// Elements of a block of keys, or of values.
const BLOCK_ELEMENTS: usize = 1 << 18;
/// Query rows that are multiplied with a block at a time.
const TILE_ROWS: usize = 128;
/// Jobs whose results are kept before they go to their places.
const JOBS_AT_A_TIME: usize = 1024;

/// Solves [`Attention`].
///
/// Products, softmax and sums are taken in f32, by blocks of keys. Keys that no row sees by the bounds are not
/// read. Kv heads of sequences run in parallel; the result does not depend on how many run at a time.
pub(crate) fn attend(problem: &Attention<'_>) -> Result<Attended, ExecError> {
    let operands = problem.operands;
    let factors = Factors::read(problem);
    let [n_rows, heads, width] = operands.output_shape();
    let mut output = vec![0.0; n_rows * heads * width];
    let mut lse = vec![f32::NEG_INFINITY; n_rows * heads];

    let (group, kv_heads) = (operands.group(), operands.keys().heads());
    let sequences: Vec<&Sequence<'_>> =
        problem.sequences.iter().filter(|sequence| !sequence.rows.is_empty()).collect();
    let job = |index: usize| Job {
        problem,
        factors: &factors,
        sequence: sequences[index / kv_heads],
        kv_head: index % kv_heads,
    };
    let n_jobs = sequences.len() * kv_heads;
    for start in (0..n_jobs).step_by(JOBS_AT_A_TIME) {
        let jobs = start..n_jobs.min(start + JOBS_AT_A_TIME);
        let results: Vec<Rows> = jobs.clone().into_par_iter().map(|index| job(index).run()).collect();
        for (job, rows) in jobs.map(job).zip(&results) {
            for (query, (values, logs)) in rows.groups(group).enumerate() {
                let first = (job.sequence.rows.start + query) * heads + job.kv_head * group;
                output[first * width..][..group * width].copy_from_slice(values);
                lse[first..][..group].copy_from_slice(logs);
            }
        }
    }
    Ok(Attended {
        output: numbers::rounded(problem.dtype, &[n_rows, heads, width], &output)?,
        lse: numbers::rounded(DType::Float32, &[n_rows, heads], &lse)?,
    })
}

/// What heads are multiplied by, copied out once for all jobs.
#[derive(Debug)]
struct Factors {
    q: FactorValues,
    k: FactorValues,
    v: FactorValues,
    sinks: Option<Vec<f32>>,
}

impl Factors {
    fn read(problem: &Attention<'_>) -> Factors {
        let scales = problem.head_scales;
        Factors {
            q: FactorValues::read(scales.q),
            k: FactorValues::read(scales.k),
            v: FactorValues::read(scales.v),
            sinks: problem.sinks.map(numbers::values),
        }
    }
}

/// One kv head of one sequence, with the query heads that share it.
///
/// Row `r` is query `r / group`, head `r % group` of the group.
#[derive(Debug)]
struct Job<'a> {
    problem: &'a Attention<'a>,
    factors: &'a Factors,
    sequence: &'a Sequence<'a>,
    kv_head: usize,
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
        let mut rows = Rows::new(n_rows, width_vo);
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
        self.finish(&mut rows, n_rows);
        rows
    }

    /// Reads the queries, `[rows, d]`, and turns them to their places.
    fn queries(&self) -> Vec<f32> {
        let (vectors, group) = (self.problem.operands.queries(), self.group());
        let width = vectors.width();
        let mut rows = vec![0.0; self.sequence.rows.len() * group * width];
        for (row, out) in rows.chunks_exact_mut(width).enumerate() {
            let slot = self.sequence.rows.start + row / group;
            read(vectors, Place { page: 0, slot }, self.kv_head * group + row % group, out);
        }
        // A query stands at the place of a key, the last at the last; before the first key it is negative.
        let first = self.sequence.keys.count() as i64 - self.sequence.rows.len() as i64;
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
            read(vectors, self.sequence.keys.place(token), self.kv_head, out);
        }
    }

    /// Applies the rotary embedding to vectors of `d` elements, if there is one.
    fn turn(&self, vectors: &mut [f32], position: impl Fn(usize) -> f32) {
        let PositionEncoding::RopeLlama(frequencies) = self.problem.encoding else {
            return;
        };
        let (width, _) = self.widths();
        let frequencies = frequencies.of_pairs(width);
        for (index, vector) in vectors.chunks_exact_mut(width).enumerate() {
            Turn::at(position(index), &frequencies).apply(vector, Pairing::Halves);
        }
    }

    /// Returns the keys that any of these rows sees by the bounds.
    fn seen(&self, rows: Range<usize>) -> Range<usize> {
        let (queries, keys) = (self.sequence.rows.len(), self.sequence.keys.count());
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
            rows.weigh(row, weights);
        }
        let values = &buffers.values[in_block * width_vo..][..n_keys * width_vo];
        rows.add(tile, &buffers.weights, values, &mut buffers.product);
    }

    /// Makes logits of a row's products with these keys; those of keys that it does not see become -inf.
    fn logits(&self, row: usize, keys: Range<usize>, products: &mut [f32]) {
        let problem = self.problem;
        let (query, head) = (row / self.group(), self.query_head(row));
        let (queries, n_keys) = (self.sequence.rows.len(), self.sequence.keys.count());
        let bounds = problem.bounds.of(query, queries, n_keys);
        let start = bounds.start.clamp(keys.start, keys.end);
        let end = bounds.end.clamp(start, keys.end);
        let (before, rest) = products.split_at_mut(start - keys.start);
        let (logits, behind) = rest.split_at_mut(end - start);
        before.fill(f32::NEG_INFINITY);
        behind.fill(f32::NEG_INFINITY);

        let scale = problem.sm_scale * self.factors.q.of(head) * self.factors.k.of(self.kv_head);
        logits.iter_mut().for_each(|logit| *logit *= scale);
        if problem.encoding == PositionEncoding::Alibi {
            let slope = problem.alibi_slope(head);
            for (key, logit) in (start..end).zip(&mut *logits) {
                *logit += slope * (key as f32 - query as f32);
            }
        }
        if let Some(cap) = problem.soft_cap {
            logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
        }
        if let Some(mask) = self.sequence.mask {
            for (key, logit) in (start..end).zip(logits) {
                if !mask.sees(query * n_keys + key) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Adds the sinks, and finishes all rows.
    fn finish(&self, rows: &mut Rows, n_rows: usize) {
        let scale = self.problem.v_scale * self.factors.v.of(self.kv_head);
        for row in 0..n_rows {
            if let Some(sinks) = &self.factors.sinks {
                rows.weigh(row, &mut [sinks[self.query_head(row)]]);
            }
            rows.finish(row, scale);
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

/// Converts one vector to f32.
fn read(vectors: &Vectors, place: Place, head: usize, out: &mut [f32]) {
    let read = vectors.tensor().read_run_f32(vectors.run(place, head), out);
    read.expect("the vectors of a problem are floats");
}
