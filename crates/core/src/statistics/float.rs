//! The floats: their order, and their values as f32.

use half::{bf16, f16};

use super::element::{Element, LANES, Widen, add_each, add_halves};
use super::{SpecialCounts, Stats};
use crate::narrow_float::{E4M3FN_VALUES, E5M2_VALUES};

/// Declares a float by its bits, which come as a signed integer with the sign of the float.
///
/// The key of an element is its bits with those of the magnitude flipped under a set sign: that orders
/// `-inf < -1 < -0 < +0 < 1 < inf` with NaN beyond both ends, and done twice it gives the bits back.
macro_rules! float {
    (
        $(#[$doc:meta])*
        $float:ident, $code:ty => $bits:ty,
        bits: $of_code:expr,
        not_finite: $not_finite:literal,
        nan: $nan:literal,
        scale: $scale:literal,
        value: $value:expr,
        add: |$sums:ident, $codes:ident, $widen:pat_param| $add:expr $(,)?
    ) => {
        $(#[$doc])*
        pub(super) enum $float {}

        impl $float {
            #[inline(always)]
            fn order(bits: $bits) -> $bits {
                bits ^ ((bits >> (<$bits>::BITS - 1)) & <$bits>::MAX)
            }

            fn value(key: $bits) -> f32 {
                $value($float::order(key))
            }
        }

        impl Element for $float {
            type Code = $code;
            type Key = $bits;

            const SCALE: f64 = $scale;

            #[inline(always)]
            fn codes(bytes: &[u8]) -> &[$code] {
                bytes.as_chunks().0
            }

            #[inline(always)]
            fn key(code: $code) -> $bits {
                $float::order($of_code(code))
            }

            #[inline(always)]
            fn add($sums: &mut [f32; LANES], $codes: &[$code; LANES], $widen: impl Widen) {
                $add;
            }

            #[inline(always)]
            fn is_finite(key: $bits) -> bool {
                !$not_finite < key && key < $not_finite
            }

            #[inline(always)]
            fn is_nan(key: $bits) -> bool {
                key <= !$nan || $nan <= key
            }

            fn stats(min: $bits, max: $bits, mean: f32, special: SpecialCounts) -> Stats {
                let [min, max] = [min, max].map($float::value);
                match special {
                    SpecialCounts { nan: 0, infinite: 0 } => Stats::Float { min, max, mean, special },
                    // One infinity goes through a sum, two different ones are NaN.
                    SpecialCounts { nan: 0, .. } => Stats::Float { min, max, mean: min + max, special },
                    _ => Stats::Float { min: f32::NAN, max: f32::NAN, mean: f32::NAN, special },
                }
            }
        }
    };
}

float! {
    /// Rounded to f32 before anything else.
    F64, [u8; 8] => i32,
    bits: |code| (f64::from_le_bytes(code) as f32).to_bits().cast_signed(),
    not_finite: 0x7f80_0000,
    nan: 0x7f80_0001,
    scale: 1.0,
    value: |bits: i32| f32::from_bits(bits.cast_unsigned()),
    add: |sums, codes, _| add_each(sums, codes, |code| f64::from_le_bytes(code) as f32),
}

float! {
    F32, [u8; 4] => i32,
    bits: i32::from_le_bytes,
    not_finite: 0x7f80_0000,
    nan: 0x7f80_0001,
    scale: 1.0,
    value: |bits: i32| f32::from_bits(bits.cast_unsigned()),
    add: |sums, codes, _| add_each(sums, codes, f32::from_le_bytes),
}

float! {
    BF16, [u8; 2] => i16,
    bits: i16::from_le_bytes,
    not_finite: 0x7f80,
    nan: 0x7f81,
    scale: 1.0,
    value: |bits: i16| bf16::from_bits(bits.cast_unsigned()).to_f32(),
    add: |sums, codes, _| {
        add_each(sums, codes, |code| f32::from_bits(u32::from(u16::from_le_bytes(code)) << 16))
    },
}

float! {
    F16, [u8; 2] => i16,
    bits: i16::from_le_bytes,
    not_finite: 0x7c00,
    nan: 0x7c01,
    scale: 1.0,
    value: |bits: i16| f16::from_bits(bits.cast_unsigned()).to_f32(),
    add: |sums, codes, widen| add_halves(sums, codes, widen, u16::from_le_bytes),
}

float! {
    /// The upper byte of an f16.
    E5M2, [u8; 1] => i8,
    bits: i8::from_le_bytes,
    not_finite: 0x7c,
    nan: 0x7d,
    scale: 1.0,
    value: |bits: i8| E5M2_VALUES[usize::from(bits.cast_unsigned())],
    add: |sums, codes, widen| add_halves(sums, codes, widen, |[code]| u16::from(code) << 8),
}

float! {
    /// An f16 whose exponent is too small by 8: the biases are 7 and 15.
    E4M3FN, [u8; 1] => i8,
    bits: i8::from_le_bytes,
    not_finite: 0x7f,
    nan: 0x7f,
    scale: 256.0,
    value: |bits: i8| E4M3FN_VALUES[usize::from(bits.cast_unsigned())],
    add: |sums, codes, widen| {
        // The sign is extended over what is to be the first bit of the exponent, and cleared from there.
        add_halves(sums, codes, widen, |code| (i16::from(i8::from_le_bytes(code)) << 7).cast_unsigned() & 0xbf80)
    },
}
