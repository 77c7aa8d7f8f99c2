//! Attention straight from its formula: one element at a time, in f64.

use std::f64::consts::LN_2;

/// Attention of one sequence.
#[derive(Clone, Debug)]
pub(super) struct Formula<'a> {
    /// `[q_len, qo_heads, d]`.
    pub(super) q: &'a [f64],
    /// `[kv_len, kv_heads, d]`.
    pub(super) k: &'a [f64],
    /// `[kv_len, kv_heads, d_vo]`.
    pub(super) v: &'a [f64],
    pub(super) q_len: usize,
    pub(super) kv_len: usize,
    pub(super) qo_heads: usize,
    pub(super) kv_heads: usize,
    pub(super) width: usize,
    pub(super) width_vo: usize,
    pub(super) sm_scale: f64,
    pub(super) soft_cap: Option<f64>,
    pub(super) encoding: Encoding,
    /// Keys behind its own place that a query sees.
    pub(super) right: Option<i64>,
    /// Keys before its own place that a query sees.
    pub(super) left: Option<i64>,
    /// `[q_len, kv_len]`.
    pub(super) mask: Option<&'a [bool]>,
    pub(super) sinks: Option<&'a [f64]>,
    pub(super) v_scale: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    None,
    Rope { scale: f64, theta: f64 },
    Alibi,
}

impl Formula<'_> {
    /// Returns the output `[q_len, qo_heads, d_vo]` and the log-sum-exp `[q_len, qo_heads]`, base 2.
    pub(super) fn solve(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut output, mut lse) = (Vec::new(), Vec::new());
        for query in 0..self.q_len {
            for head in 0..self.qo_heads {
                let (row, log) = self.row(query, head);
                output.extend(row);
                lse.push(log);
            }
        }
        (output, lse)
    }

    fn row(&self, query: usize, head: usize) -> (Vec<f64>, f64) {
        let kv_head = head / (self.qo_heads / self.kv_heads);
        let (width, width_vo) = (self.width, self.width_vo);
        let place = query as i64 + self.kv_len as i64 - self.q_len as i64;
        let q = self.turned(&self.q[(query * self.qo_heads + head) * width..][..width], place);
        let mut logits: Vec<(f64, &[f64])> = Vec::new();
        for key in (0..self.kv_len).filter(|&key| self.sees(query, place, key)) {
            let vector = key * self.kv_heads + kv_head;
            let k = self.turned(&self.k[vector * width..][..width], key as i64);
            let dot: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
            let mut logit = dot * self.sm_scale;
            if self.encoding == Encoding::Alibi {
                logit += slope(head, self.qo_heads) * (key as f64 - query as f64);
            }
            if let Some(cap) = self.soft_cap {
                logit = cap * (logit / cap).tanh();
            }
            logits.push((logit, &self.v[vector * width_vo..][..width_vo]));
        }
        let zeros = vec![0.0; width_vo];
        if let Some(sinks) = self.sinks {
            logits.push((sinks[head], &zeros));
        }
        // Biases reach hundreds: without the greatest logit taken out, weights overflow even in f64.
        let max = logits.iter().fold(f64::NEG_INFINITY, |max, (logit, _)| max.max(*logit));
        let mut output = zeros.clone();
        let sum: f64 = logits.iter().map(|(logit, _)| (logit - max).exp()).sum();
        for (logit, value) in &logits {
            let weight = (logit - max).exp() / sum;
            for (output, value) in output.iter_mut().zip(*value) {
                *output += weight * value * self.v_scale;
            }
        }
        let lse = if logits.is_empty() { f64::NEG_INFINITY } else { (max + sum.ln()) / LN_2 };
        (output, lse)
    }

    fn sees(&self, query: usize, place: i64, key: usize) -> bool {
        let masked = self.mask.is_some_and(|mask| !mask[query * self.kv_len + key]);
        let key = key as i64;
        !masked
            && self.left.is_none_or(|left| key >= place - left)
            && self.right.is_none_or(|right| key <= place + right)
    }

    fn turned(&self, vector: &[f64], place: i64) -> Vec<f64> {
        let Encoding::Rope { scale, theta } = self.encoding else {
            return vector.to_vec();
        };
        let width = vector.len();
        let half = width / 2;
        let angle = |pair: usize| place as f64 / scale * theta.powf(-2.0 * pair as f64 / width as f64);
        (0..width)
            .map(|i| {
                let (sin, cos) = angle(i % half).sin_cos();
                if i < half {
                    vector[i] * cos - vector[i + half] * sin
                } else {
                    vector[i] * cos + vector[i - half] * sin
                }
            })
            .collect()
    }
}

/// The slope as the paper's own program builds it: from the series of the next lower power of two, and every
/// other member of the series of the next higher one.
fn slope(head: usize, heads: usize) -> f64 {
    let series = |n: usize| (1..=n).map(move |i| (-8.0 * i as f64 / n as f64).exp2());
    let power = (1..=heads).rev().find(|n| n.is_power_of_two()).unwrap();
    series(power).chain(series(2 * power).step_by(2)).nth(head).unwrap()
}
