//! What the loop over a tensor must know of its element type.

use super::{SpecialCounts, Stats};

/// Turns f16 codes into their values.
pub(super) trait Widen: Fn([u16; 8]) -> [f32; 8] {}

impl<F: Fn([u16; 8]) -> [f32; 8]> Widen for F {}

/// An element type that has statistics. What the loop calls is inlined into it, whatever CPU it is compiled for.
pub(super) trait Element {
    /// The bytes of an element, little endian; all of them zero is the number zero.
    type Code: Copy + Default;
    /// An integer that is ordered as the elements are.
    type Key: Key;

    /// What the sum of [`Element::values`] is to be multiplied by.
    const SCALE: f64 = 1.0;

    /// Cuts bytes into elements.
    fn codes(bytes: &[u8]) -> &[Self::Code];
    /// Returns the place of an element in the order.
    fn key(code: Self::Code) -> Self::Key;
    /// Converts finite elements to f32, each rounded once; `widen` is there for those that are an f16 inside.
    fn values(codes: &[Self::Code; 8], widen: impl Widen) -> [f32; 8];
    /// Tells whether an element is neither infinite nor NaN. Those that are lie at the ends of the order.
    fn is_finite(key: Self::Key) -> bool;
    /// Tells whether an element is NaN.
    fn is_nan(key: Self::Key) -> bool;
    /// Puts the results together.
    fn stats(min: Self::Key, max: Self::Key, mean: f32, special: SpecialCounts) -> Stats;
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
            fn values(codes: &[Self::Code; 8], _: impl Widen) -> [f32; 8] {
                codes.map(|code| <$int>::from_le_bytes(code) as f32)
            }

            #[inline(always)]
            fn is_finite(_: $int) -> bool {
                true
            }

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
