//! Rotary position embedding (Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
//! 2021): pairs of elements of a head are turned by an angle that grows with the token's position.
//!
//! `q` `[n, q_heads, d]` and `k` `[n, k_heads, d]` stand at the same positions. Only the first `rotary_dim`
//! elements of a head turn (all of them by default); the others stay. Everything is computed in f32, the angle
//! included; the results `(q, k)` are new tensors, rounded once.

mod rotation;

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, Value};

use crate::table::Function;
use crate::{operand, output};

use self::rotation::LlamaScaling;
pub(crate) use self::rotation::{Pairing, Turn, frequencies};

const VALUES: Contract = Contract { writes: &[], results: &[ResultRule::Values] };

pub(crate) const ROWS: &[Function] = &[
    Function::new(
        VALUES,
        "apply_rope",
        "q, k, indptr, offsets, rotary_dim=None, interleave=False, rope_scale=1, rope_theta=1e4",
        |arguments| apply_rope(arguments, positions_of_segments, divided),
    ),
    Function::new(
        VALUES,
        "apply_rope_pos_ids",
        "q, k, pos_ids, rotary_dim=None, interleave=False, rope_scale=1, rope_theta=1e4",
        |arguments| apply_rope(arguments, positions_of_tokens, divided),
    ),
    Function::new(
        VALUES,
        "apply_llama31_rope",
        "q, k, indptr, offsets, rotary_dim=None, interleave=False, rope_scale=8, rope_theta=5e5, \
         low_freq_factor=1, high_freq_factor=4, old_context_len=8192",
        |arguments| apply_rope(arguments, positions_of_segments, stretched),
    ),
    Function::new(
        VALUES,
        "apply_llama31_rope_pos_ids",
        "q, k, pos_ids, rotary_dim=None, interleave=False, rope_scale=8, rope_theta=5e5, low_freq_factor=1, \
         high_freq_factor=4, old_context_len=8192",
        |arguments| apply_rope(arguments, positions_of_tokens, stretched),
    ),
    Function::new(
        VALUES,
        "apply_rope_with_cos_sin_cache",
        "positions, query, key, head_size, cos_sin_cache, is_neox=True",
        apply_rope_with_cos_sin_cache,
    ),
];

/// Turns `q` and `k` by angles computed from the positions.
///
/// `interleave` pairs neighbours; otherwise the halves of the turning part are paired.
fn apply_rope(
    arguments: &Bound<'_>,
    positions: fn(&Bound<'_>, usize) -> Result<Vec<f32>, ExecError>,
    scaled: fn(&Bound<'_>, Vec<f32>) -> Result<Vec<f32>, ExecError>,
) -> Result<OwnedValue, ExecError> {
    let [tokens, _, width] = operand::sizes(arguments, "q", "[n, heads, d]")?;
    let mut q = Heads::read(arguments, "q", tokens, width)?;
    let mut k = Heads::read(arguments, "k", tokens, width)?;
    if q.values.is_empty() && k.values.is_empty() {
        // The other sizes may be of any magnitude: nothing is computed for them.
        return results(&q, &k);
    }
    let rotary_dim = match arguments.optional_int("rotary_dim")? {
        Some(_) => arguments.size("rotary_dim")?,
        None => width,
    };
    check_rotary_dim("rotary_dim", rotary_dim, width)?;
    let frequencies = scaled(arguments, frequencies(rotary_dim, arguments.float("rope_theta")?))?;
    let pairing = match arguments.flag("interleave")? {
        true => Pairing::Neighbours,
        false => Pairing::Halves,
    };
    for (token, position) in positions(arguments, tokens)?.into_iter().enumerate() {
        let turn = Turn::at(position, &frequencies);
        q.turn(token, &turn, pairing);
        k.turn(token, &turn, pairing);
    }
    results(&q, &k)
}

/// Token `j` of segment `b`, which begins at `indptr[b]`, has the position `offsets[b] + j`.
///
/// `indptr` `[segments + 1]`, `offsets` `[segments]`. A token outside all segments has the position 0
/// and stays as it is.
fn positions_of_segments(arguments: &Bound<'_>, tokens: usize) -> Result<Vec<f32>, ExecError> {
    let indptr = arguments.i64s("indptr")?;
    let offsets = operand::integers_of(
        arguments,
        "offsets",
        &[indptr.len().saturating_sub(1)],
        "one for each segment of `indptr`",
    )?;
    let mut positions = vec![0.0; tokens];
    for (bounds, offset) in indptr.windows(2).zip(offsets) {
        let segment = match (usize::try_from(bounds[0]), usize::try_from(bounds[1])) {
            (Ok(start), Ok(end)) => positions.get_mut(start..end),
            _ => None,
        };
        let segment = segment.ok_or_else(|| {
            let reason = format!("no segment of the {tokens} tokens of `q`");
            operand::wrong_value("indptr", format!("{}..{}", bounds[0], bounds[1]), reason)
        })?;
        for (place, position) in segment.iter_mut().enumerate() {
            *position = offset.saturating_add(place as i64) as f32;
        }
    }
    Ok(positions)
}

/// `pos_ids` `[n]` are the positions.
fn positions_of_tokens(arguments: &Bound<'_>, tokens: usize) -> Result<Vec<f32>, ExecError> {
    let positions = operand::integers_of(arguments, "pos_ids", &[tokens], "one for each token of `q`")?;
    Ok(positions.into_iter().map(|position| position as f32).collect())
}

/// Frequencies divided by `rope_scale` (Chen et al., "Extending Context Window of Large Language Models via
/// Positional Interpolation", 2023).
fn divided(arguments: &Bound<'_>, mut frequencies: Vec<f32>) -> Result<Vec<f32>, ExecError> {
    let scale = arguments.float("rope_scale")?;
    frequencies.iter_mut().for_each(|frequency| *frequency /= scale);
    Ok(frequencies)
}

/// Frequencies stretched as Llama 3.1 does it (Grattafiori et al., "The Llama 3 Herd of Models", 2024).
///
/// With `turns = old_context_len * f / 2 pi` and `fast = clamp((turns - low_freq_factor) / (high_freq_factor -
/// low_freq_factor), 0, 1)`: `(1 - fast) * f / rope_scale + fast * f`.
fn stretched(arguments: &Bound<'_>, mut frequencies: Vec<f32>) -> Result<Vec<f32>, ExecError> {
    let scaling = LlamaScaling {
        scale: arguments.float("rope_scale")?,
        low_freq_factor: arguments.float("low_freq_factor")?,
        high_freq_factor: arguments.float("high_freq_factor")?,
        old_context_len: arguments.float("old_context_len")?,
    };
    frequencies.iter_mut().for_each(|frequency| *frequency = scaling.apply(*frequency));
    Ok(frequencies)
}

/// Turns `query` and `key` by cosines and sines that the caller computed.
///
/// `positions` `[n]`; `query` `[n, q_heads * head_size]`, `key` `[n, k_heads * head_size]`; `cos_sin_cache`
/// `[max_position, rotary_dim]`, each row the cosines of all pairs, then their sines. `is_neox` pairs halves;
/// otherwise neighbours are paired.
fn apply_rope_with_cos_sin_cache(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let [tokens, _] = operand::sizes(arguments, "query", "[n, heads * head_size]")?;
    let head_size = arguments.size("head_size")?;
    let mut query = Heads::read_flat(arguments, "query", tokens, head_size)?;
    let mut key = Heads::read_flat(arguments, "key", tokens, head_size)?;
    let [rows, rotary_dim] = operand::sizes(arguments, "cos_sin_cache", "[max_position, rotary_dim]")?;
    check_rotary_dim("cos_sin_cache", rotary_dim, head_size)?;
    let cache = operand::values(arguments, "cos_sin_cache")?;
    let positions = operand::integers_of(arguments, "positions", &[tokens], "one for each row of `query`")?;
    let pairing = match arguments.flag("is_neox")? {
        true => Pairing::Halves,
        false => Pairing::Neighbours,
    };
    for (token, position) in positions.into_iter().enumerate() {
        let row = usize::try_from(position).ok().filter(|row| *row < rows).ok_or_else(|| {
            operand::wrong_value("positions", position, format!("`cos_sin_cache` has {rows} rows"))
        })?;
        let (cosines, sines) = cache[row * rotary_dim..(row + 1) * rotary_dim].split_at(rotary_dim / 2);
        let turn = Turn { cosines: cosines.to_vec(), sines: sines.to_vec() };
        query.turn(token, &turn, pairing);
        key.turn(token, &turn, pairing);
    }
    results(&query, &key)
}

fn check_rotary_dim(name: &str, rotary_dim: usize, width: usize) -> Result<(), ExecError> {
    if rotary_dim.is_multiple_of(2) && rotary_dim <= width {
        return Ok(());
    }
    let reason = format!("the turning part of a head must be even and at most its {width} elements");
    Err(operand::wrong_value(name, rotary_dim, reason))
}

fn results(q: &Heads, k: &Heads) -> Result<OwnedValue, ExecError> {
    let rounded = |heads: &Heads| output::rounded(heads.dtype, &heads.shape, &heads.values);
    Ok(Value::tuple(vec![Value::Tensor(rounded(q)?), Value::Tensor(rounded(k)?)]))
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
    /// Reads a tensor `[tokens, heads, width]`.
    fn read(arguments: &Bound<'_>, name: &str, tokens: usize, width: usize) -> Result<Heads, ExecError> {
        let [n, heads, d] = operand::sizes(arguments, name, "[n, heads, d]")?;
        if (n, d) != (tokens, width) {
            let expected = format!("[{tokens}, heads, {width}], as `q` has them");
            return Err(operand::wrong_shape(name, &[n, heads, d], expected));
        }
        Heads::gather(arguments, name, heads.saturating_mul(width), width)
    }

    /// Reads a tensor `[tokens, heads * width]`.
    fn read_flat(arguments: &Bound<'_>, name: &str, tokens: usize, width: usize) -> Result<Heads, ExecError> {
        let [n, token] = operand::sizes(arguments, name, "[n, heads * head_size]")?;
        if n != tokens || !token.is_multiple_of(width) {
            let expected = format!("[{tokens}, a multiple of {width}]");
            return Err(operand::wrong_shape(name, &[n, token], expected));
        }
        Heads::gather(arguments, name, token, width)
    }

    fn gather(arguments: &Bound<'_>, name: &str, token: usize, width: usize) -> Result<Heads, ExecError> {
        let tensor = operand::floats(arguments, name)?;
        Ok(Heads {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            values: arguments.f32s(name)?,
            token,
            width,
        })
    }

    /// Turns all heads of a token.
    fn turn(&mut self, token: usize, turn: &Turn, pairing: Pairing) {
        let token = self.values.chunks_exact_mut(self.token.max(1)).nth(token);
        for head in token.into_iter().flat_map(|heads| heads.chunks_exact_mut(self.width.max(1))) {
            turn.apply(head, pairing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use callbox_core::TensorBuf;
    use proptest::prelude::*;

    use super::*;
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
