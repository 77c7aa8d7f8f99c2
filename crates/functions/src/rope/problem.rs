//! The problem of this family.

use callbox_core::TensorBuf;

use super::frequencies::Frequencies;

/// Turning the heads of `q` and `k`, which stand at the same positions.
///
/// A pair `(a, b)` becomes `(a cos - b sin, b cos + a sin)`. The elements of a head behind the first `rotary_dim`
/// stay.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rope<'a> {
    /// Floats `[tokens, q_heads, width]`, or `[tokens, q_heads * width]`.
    pub q: &'a TensorBuf,
    /// Floats `[tokens, k_heads, width]`, or `[tokens, k_heads * width]`.
    pub k: &'a TensorBuf,
    /// Tokens.
    pub tokens: usize,
    /// Heads of a token in `q`.
    pub q_heads: usize,
    /// Heads of a token in `k`.
    pub k_heads: usize,
    /// Elements of a head.
    pub width: usize,
    /// Elements of a head that turn: an even number, at most `width`.
    pub rotary_dim: usize,
    /// Which elements form a pair.
    pub pairing: Pairing,
    /// How far each pair turns.
    pub angles: Angles<'a>,
}

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `(x[i], x[i + n/2])`, as GPT-NeoX pairs them.
    Halves,
    /// `(x[2i], x[2i + 1])`, as GPT-J pairs them.
    Neighbours,
}

/// How far the pairs of each token turn.
#[derive(Clone, Copy, Debug)]
pub enum Angles<'a> {
    /// By `position * frequency` radians; the position is rounded to f32, and so is the angle before its cosine
    /// is taken.
    Computed {
        /// One for each token.
        positions: &'a [i64],
        /// Of the pairs.
        frequencies: Frequencies,
    },
    /// By cosines and sines that the caller computed.
    Cached {
        /// A row of the cache for each token, all of them in it.
        rows: &'a [usize],
        /// Floats `[max_position, rotary_dim]`: in each row the cosines of all pairs, then their sines.
        cache: &'a TensorBuf,
    },
}

/// The answer to a [`Rope`]: each of the shape and dtype of what was turned.
#[derive(Clone, Debug)]
pub struct Turned {
    /// The queries.
    pub q: TensorBuf,
    /// The keys.
    pub k: TensorBuf,
}
