//! What the loop over a tensor must know of its element type.

use super::{SpecialCounts, Stats};

/// Elements that are converted and added at a time.
pub(super) const LANES: usize = 64;

/// Turns f16 codes into their values.
pub(super) trait Widen: Fn([u16; 8]) -> [f32; 8] {}

impl<F: Fn([u16; 8]) -> [f32; 8]> Widen for F {}

/// An element type that has statistics. What the loop calls is inlined into it, whatever CPU it is compiled for.
pub(super) trait Element {
    /// The bytes of an element, little endian; all of them zero is the number zero.
    type Code: Copy + Default;
    /// An integer that is ordered as the elements are.
    type Key: Key;

    /// What a sum of elements is to be multiplied by.
    const SCALE: f64 = 1.0;

    /// Cuts bytes into elements.
    fn codes(bytes: &[u8]) -> &[Self::Code];
    /// Returns the place of an element in the order.
    fn key(code: Self::Code) -> Self::Key;
    /// Converts finite elements to f32, each rounded once, and adds each to the sum of its lane; `widen` is there
    /// for those that are an f16 inside.
    fn add(sums: &mut [f32; LANES], codes: &[Self::Code; LANES], widen: impl Widen);
    /// Tells whether an element is neither infinite nor NaN. Those that are lie at the ends of the order.
    fn is_finite(key: Self::Key) -> bool;
    /// Tells whether an element is NaN.
    fn is_nan(key: Self::Key) -> bool;
    /// Puts the results together.
    fn stats(min: Self::Key, max: Self::Key, mean: f32, special: SpecialCounts) -> Stats;
}

/// Adds elements that `value` converts.
#[inline(always)]
pub(super) fn add_each<C: Copy>(sums: &mut [f32; LANES], codes: &[C; LANES], value: impl Fn(C) -> f32) {
    for (sum, code) in sums.iter_mut().zip(codes) {
        *sum += value(*code);
    }
}

/// Adds elements that `half` turns into f16 codes.
#[inline(always)]
pub(super) fn add_halves<C: Copy>(
    sums: &mut [f32; LANES],
    codes: &[C; LANES],
    widen: impl Widen,
    half: impl Fn(C) -> u16,
) {
    let mut halves = [0; LANES];
    for (slot, code) in halves.iter_mut().zip(codes) {
        *slot = half(*code);
    }
    for (sums, halves) in sums.as_chunks_mut::<8>().0.iter_mut().zip(halves.as_chunks().0) {
        for (sum, value) in sums.iter_mut().zip(widen(*halves)) {
            *sum += value;
        }
    }
}

/// An integer that elements are compared by.
pub(super) trait Key: Copy + Ord {
    /// The smallest one.
    const MIN: Self;
    /// The largest one.
    const MAX: Self;
}

macro_rules! keys {
    ($($int:ty),*) => {$(
        impl Key for $int {
            const MIN: $int = <$int>::MIN;
            const MAX: $int = <$int>::MAX;
        }
    )*};
}

keys!(i64, i32, i16, i8, u8);

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Element for $int {
            type Code = [u8; size_of::<$int>()];
            type Key = $int;

            #[inline(always)]
            fn codes(bytes: &[u8]) -> &[Self::Code] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn key(code: Self::Code) -> $int {
                <$int>::from_le_bytes(code)
            }

            #[inline(always)]
            fn add(sums: &mut [f32; LANES], codes: &[Self::Code; LANES], _: impl Widen) {
                add_each(sums, codes, |code| <$int>::from_le_bytes(code) as f32);
            }

            #[inline(always)]
            fn is_finite(_: $int) -> bool {
                true
            }

            #[inline(always)]
            fn is_nan(_: $int) -> bool {
                false
            }

            fn stats(min: $int, max: $int, mean: f32, _: SpecialCounts) -> Stats {
                Stats::Integer { min: i64::from(min), max: i64::from(max), mean }
            }
        }
    )*};
}

integers!(i64, i32, i16, i8, u8);
