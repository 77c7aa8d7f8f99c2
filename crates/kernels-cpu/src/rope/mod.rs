//! Rotary position embedding.

mod rotation;

use callbox_core::{DType, ExecError, TensorBuf};
use callbox_functions::{Angles, Pairing, Rope, Turned};

use crate::numbers;

pub(crate) use self::rotation::Turn;

/// Solves [`Rope`].
pub(crate) fn rope(problem: &Rope<'_>) -> Result<Turned, ExecError> {
    let mut q = Heads::read(problem.q, problem.q_heads, problem.width);
    let mut k = Heads::read(problem.k, problem.k_heads, problem.width);
    let turns = Turns::read(problem);
    for token in 0..problem.tokens {
        let turn = turns.of(token);
        q.turn(token, &turn, problem.pairing);
        k.turn(token, &turn, problem.pairing);
    }
    Ok(Turned { q: q.rounded()?, k: k.rounded()? })
}

/// The turns of all tokens.
enum Turns<'a> {
    Computed { positions: &'a [i64], frequencies: Vec<f32> },
    Cached { rows: &'a [usize], cache: Vec<f32>, rotary_dim: usize },
}

impl Turns<'_> {
    fn read<'a>(problem: &Rope<'a>) -> Turns<'a> {
        let rotary_dim = problem.rotary_dim;
        match problem.angles {
            Angles::Computed { positions, frequencies } => {
                Turns::Computed { positions, frequencies: frequencies.of_pairs(rotary_dim) }
            }
            Angles::Cached { rows, cache } => {
                Turns::Cached { rows, cache: numbers::values(cache), rotary_dim }
            }
        }
    }

    fn of(&self, token: usize) -> Turn {
        match self {
            Turns::Computed { positions, frequencies } => Turn::at(positions[token] as f32, frequencies),
            Turns::Cached { rows, cache, rotary_dim } => {
                let row = &cache[rows[token] * rotary_dim..][..*rotary_dim];
                let (cosines, sines) = row.split_at(rotary_dim / 2);
                Turn { cosines: cosines.to_vec(), sines: sines.to_vec() }
            }
        }
    }
}

/// The heads of all tokens, in f32.
struct Heads {
    dtype: DType,
    shape: Vec<usize>,
    values: Vec<f32>,
    /// Elements of a token.
    token: usize,
    /// Elements of a head.
    width: usize,
}

impl Heads {
    fn read(tensor: &TensorBuf, heads: usize, width: usize) -> Heads {
        Heads {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            values: numbers::values(tensor),
            token: heads.saturating_mul(width),
            width,
        }
    }

    /// Turns all heads of a token.
    fn turn(&mut self, token: usize, turn: &Turn, pairing: Pairing) {
        let token = self.values.chunks_exact_mut(self.token.max(1)).nth(token);
        for head in token.into_iter().flat_map(|heads| heads.chunks_exact_mut(self.width.max(1))) {
            turn.apply(head, pairing);
        }
    }

    fn rounded(&self) -> Result<TensorBuf, ExecError> {
        numbers::rounded(self.dtype, &self.shape, &self.values)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use callbox_core::{DType, TensorBuf};
    use proptest::prelude::*;

    use crate::trial::{Trial, call, check_rounded, exact, float_dtype, ints, longs, random, scattered};

    /// A rotation by the definition: which pairs turn, and how fast, in f64.
    #[derive(Clone, Debug)]
    struct Definition {
        rotary_dim: usize,
        interleave: bool,
        rope_scale: f64,
        rope_theta: f64,
        /// `low_freq_factor`, `high_freq_factor`, `old_context_len`.
        llama: Option<[f64; 3]>,
    }

    impl Definition {
        fn frequency(&self, pair: usize) -> f64 {
            let plain = self.rope_theta.powf(-2.0 * pair as f64 / self.rotary_dim as f64);
            let Some([low, high, context]) = self.llama else {
                return plain / self.rope_scale;
            };
            let wavelength = 2.0 * PI / plain;
            if wavelength < context / high {
                plain
            } else if wavelength > context / low {
                plain / self.rope_scale
            } else {
                let share = (context / wavelength - low) / (high - low);
                (1.0 - share) * plain / self.rope_scale + share * plain
            }
        }

        /// Turns heads `[tokens, heads, width]`.
        fn turned(&self, heads: &TensorBuf, positions: &[i32]) -> Vec<f64> {
            let (mut values, width) = (exact(heads), heads.shape()[2]);
            let token = heads.shape()[1] * width;
            for (values, &position) in values.chunks_mut(token).zip(positions) {
                for head in values.chunks_mut(width) {
                    for pair in 0..self.rotary_dim / 2 {
                        let (sin, cos) = (f64::from(position) * self.frequency(pair)).sin_cos();
                        let (i, j) = match self.interleave {
                            true => (2 * pair, 2 * pair + 1),
                            false => (pair, pair + self.rotary_dim / 2),
                        };
                        (head[i], head[j]) = (head[i] * cos - head[j] * sin, head[j] * cos + head[i] * sin);
                    }
                }
            }
            values
        }

        fn options(&self, call: Trial) -> Trial {
            let call = call
                .named("rotary_dim", self.rotary_dim as i64)
                .named("interleave", self.interleave)
                .named("rope_scale", self.rope_scale as f32)
                .named("rope_theta", self.rope_theta as f32);
            match self.llama {
                Some([low, high, context]) => call
                    .named("low_freq_factor", low as f32)
                    .named("high_freq_factor", high as f32)
                    .named("old_context_len", context as i64),
                None => call,
            }
        }
    }

    fn definition() -> impl Strategy<Value = (usize, Definition)> {
        let llama = prop::option::of((0.5f64..2.0, 3.0f64..6.0, 64i32..9000));
        (1usize..12, 0usize..9, any::<bool>(), 1usize..9, prop::sample::select(vec![1e4, 5e5]), llama)
            .prop_map(|(pairs, rest, interleave, scale, rope_theta, llama)| {
                let definition = Definition {
                    rotary_dim: 2 * pairs,
                    interleave,
                    rope_scale: scale as f64,
                    rope_theta,
                    llama: llama.map(|(low, high, context)| [low, high, f64::from(context)]),
                };
                (2 * pairs + rest, definition)
            })
    }

    /// What an angle below 200, rounded to f32, may be off by.
    const SLACK: f64 = 5e-5;

    proptest! {
        #[test]
        fn pairs_turn_by_position_times_frequency(
            (width, definition) in definition(),
            (q_heads, k_heads) in (1usize..4, 1usize..4),
            segments in prop::collection::vec((0i32..4, 0i32..190), 1..4),
            dtype in float_dtype(),
            seed: u64,
        ) {
            let mut indptr = vec![0];
            let mut positions = Vec::new();
            for &(len, offset) in &segments {
                indptr.push(indptr[indptr.len() - 1] + len);
                positions.extend(offset..offset + len);
            }
            let offsets: Vec<_> = segments.iter().map(|(_, offset)| *offset).collect();
            let tokens = positions.len();
            let q = random(dtype, &[tokens, q_heads, width], seed);
            let k = random(dtype, &[tokens, k_heads, width], !seed);
            let (by_segment, by_token) = match definition.llama {
                Some(_) => ("apply_llama31_rope", "apply_llama31_rope_pos_ids"),
                None => ("apply_rope", "apply_rope_pos_ids"),
            };
            let by_segment = call(by_segment)
                .with(scattered(&q))
                .with(scattered(&k))
                .with(ints(&indptr))
                .with(longs(&offsets));
            let by_token = call(by_token).with(q.clone()).with(k.clone()).with(ints(&positions));
            for call in [by_segment, by_token] {
                let (turned_q, turned_k) = definition.options(call).pair();
                prop_assert_eq!((turned_q.dtype(), turned_q.shape()), (dtype, q.shape()));
                check_rounded(&turned_q, &definition.turned(&q, &positions), SLACK);
                check_rounded(&turned_k, &definition.turned(&k, &positions), SLACK);
            }
        }

        #[test]
        fn a_cache_holds_cosines_then_sines(
            (width, mut definition) in definition(),
            (q_heads, k_heads) in (1usize..4, 1usize..4),
            positions in prop::collection::vec(0i32..50, 0..6),
            dtype in float_dtype(),
            wide: bool,
            seed: u64,
        ) {
            definition.llama = None;
            let tokens = positions.len();
            let q = random(dtype, &[tokens, q_heads, width], seed);
            let k = random(dtype, &[tokens, k_heads, width], !seed);
            let flat = |heads: &TensorBuf| {
                let shape = [tokens, heads.shape()[1] * width];
                TensorBuf::from_elements(dtype, &shape, heads.to_bytes()).unwrap()
            };
            let pairs = definition.rotary_dim / 2;
            let rows = (0..50).flat_map(|position| {
                let angle = |pair| f64::from(position) * definition.frequency(pair);
                let cosines: Vec<_> = (0..pairs).map(|pair| angle(pair).cos() as f32).collect();
                let sines = (0..pairs).map(|pair| angle(pair).sin() as f32).collect();
                [cosines, sines].concat()
            });
            let cache = TensorBuf::from_f32(DType::Float32, &[50, 2 * pairs], &rows.collect::<Vec<_>>()).unwrap();
            let (turned_q, turned_k) = call("apply_rope_with_cos_sin_cache")
                .with(if wide { longs(&positions) } else { ints(&positions) })
                .with(scattered(&flat(&q)))
                .with(flat(&k))
                .with(width as i64)
                .with(cache)
                .named("is_neox", !definition.interleave)
                .pair();
            prop_assert_eq!(turned_q.shape(), &[tokens, q_heads * width][..]);
            check_rounded(&turned_q, &definition.turned(&q, &positions), 1e-6);
            check_rounded(&turned_k, &definition.turned(&k, &positions), 1e-6);
        }
    }

    #[test]
    fn options_left_out_are_flashinfer_s_own() {
        let q = || random(DType::Float32, &[2, 1, 64], 1);
        let plain =
            Definition { rotary_dim: 64, interleave: false, rope_scale: 1.0, rope_theta: 1e4, llama: None };
        let llama =
            Definition { rope_scale: 8.0, rope_theta: 5e5, llama: Some([1.0, 4.0, 8192.0]), ..plain.clone() };
        for (function, definition) in [("apply_rope_pos_ids", plain), ("apply_llama31_rope_pos_ids", llama)] {
            let (turned, _) = call(function).with(q()).with(q()).with(ints(&[3, 170])).pair();
            check_rounded(&turned, &definition.turned(&q(), &[3, 170]), SLACK);
        }
    }

    #[test]
    fn tokens_outside_all_segments_stay() {
        let q = random(DType::Float16, &[3, 1, 8], 1);
        let (turned, _) =
            call("apply_rope").with(q.clone()).with(q.clone()).with(ints(&[1, 2])).with(ints(&[7])).pair();
        let (before, after) = (exact(&q), exact(&turned));
        assert_eq!((&before[..8], &before[16..]), (&after[..8], &after[16..]));
        assert_ne!(before[8..16], after[8..16]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let heads = |tokens, width| random(DType::Float16, &[tokens, 2, width], 1);
        let by_token = || call("apply_rope_pos_ids").with(heads(3, 8)).with(heads(3, 8));
        assert_eq!(
            by_token().with(ints(&[1, 2])).error(),
            "argument `pos_ids` has shape [2], expected [3], one for each token of `q`"
        );
        for (rotary_dim, found) in [(7, "7"), (10, "10")] {
            assert_eq!(
                by_token().with(ints(&[1, 2, 3])).named("rotary_dim", rotary_dim).error(),
                format!(
                    "argument `rotary_dim` is {found}: the turning part of a head must be even and at most its 8 \
                     elements"
                )
            );
        }
        assert_eq!(
            call("apply_rope_pos_ids").with(heads(3, 8)).with(heads(3, 4)).with(ints(&[1])).error(),
            "argument `k` has shape [3, 2, 4], expected [3, heads, 8], as `q` has them"
        );
        let by_segment = || call("apply_rope").with(heads(3, 8)).with(heads(3, 8));
        assert_eq!(
            by_segment().with(ints(&[0, 3])).with(ints(&[1, 2])).error(),
            "argument `offsets` has shape [2], expected [1], one for each segment of `indptr`"
        );
        for (indptr, segment) in [([0, 4], "0..4"), ([2, 1], "2..1"), ([-1, 2], "-1..2")] {
            assert_eq!(
                by_segment().with(ints(&indptr)).with(ints(&[0])).error(),
                format!("argument `indptr` is {segment}: no segment of the 3 tokens of `q`")
            );
        }
        let from_cache = |position: i32, head_size: i64| {
            call("apply_rope_with_cos_sin_cache")
                .with(longs(&[position]))
                .with(random(DType::Float16, &[1, 16], 1))
                .with(random(DType::Float16, &[1, 8], 1))
                .with(head_size)
                .with(random(DType::Float32, &[5, 8], 1))
        };
        assert_eq!(from_cache(5, 8).error(), "argument `positions` is 5: `cos_sin_cache` has 5 rows");
        assert_eq!(from_cache(-1, 8).error(), "argument `positions` is -1: `cos_sin_cache` has 5 rows");
        assert_eq!(
            from_cache(0, 16).error(),
            "argument `key` has shape [1, 8], expected [1, a multiple of 16]"
        );
        assert_eq!(
            from_cache(0, 4).error(),
            "argument `cos_sin_cache` is 8: the turning part of a head must be even and at most its 4 elements"
        );
    }
}
