//! Eight f16 codes to f32 at a time, without a branch.
//!
//! `half` has these conversions too, but asks for each eight anew whether the CPU has F16C, outside of the loop
//! that is compiled for such CPUs.

/// Converts finite f16 codes by moving their bits.
///
/// A subnormal code is moved as if it were normal and corrected by a subtraction: multiplying an f32 that is
/// subnormal itself would be shorter, and a hundred times slower on many CPUs.
#[inline(always)]
pub(super) fn by_bits(halves: [u16; 8]) -> [f32; 8] {
    const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    /// Between the exponent biases, 127 and 15.
    const REBIAS: u32 = 112 << MANTISSA_BITS;
    const SMALLEST_NORMAL: f32 = f32::from_bits((112 + 1) << MANTISSA_BITS);
    halves.map(|half| {
        let magnitude = u32::from(half & 0x7fff);
        let sign = u32::from(half & 0x8000) << 16;
        let bits = (magnitude << 13) + REBIAS;
        let normal = f32::from_bits(bits);
        let subnormal = f32::from_bits(bits + (1 << MANTISSA_BITS)) - SMALLEST_NORMAL;
        let value = if magnitude < 0x0400 { subnormal } else { normal };
        f32::from_bits(value.to_bits() | sign)
    })
}

/// Converts f16 codes by the instruction for it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) fn by_f16c(halves: [u16; 8]) -> [f32; 8] {
    use std::arch::x86_64::{_mm_set_epi16, _mm256_castps_si256, _mm256_cvtph_ps, _mm256_extract_epi32};

    let [a, b, c, d, e, f, g, h] = halves.map(u16::cast_signed);
    let values = _mm256_castps_si256(_mm256_cvtph_ps(_mm_set_epi16(h, g, f, e, d, c, b, a)));
    // The vector stays in its register: the eight of them are recognised as all of it.
    [
        _mm256_extract_epi32::<0>(values),
        _mm256_extract_epi32::<1>(values),
        _mm256_extract_epi32::<2>(values),
        _mm256_extract_epi32::<3>(values),
        _mm256_extract_epi32::<4>(values),
        _mm256_extract_epi32::<5>(values),
        _mm256_extract_epi32::<6>(values),
        _mm256_extract_epi32::<7>(values),
    ]
    .map(|bits| f32::from_bits(bits.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn check(widen: impl Fn([u16; 8]) -> [f32; 8]) {
        let finite: Vec<u16> = (0..=u16::MAX).filter(|code| code & 0x7c00 != 0x7c00).collect();
        for codes in finite.as_chunks().0 {
            let expected = codes.map(|code| f16::from_bits(code).to_f32().to_bits());
            assert_eq!(widen(*codes).map(f32::to_bits), expected, "{codes:04x?}");
        }
    }

    #[test]
    fn every_finite_f16_is_converted_as_the_half_crate_does_it() {
        check(by_bits);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_instruction_gives_the_same_values() {
        #[multiversion::multiversion(targets("x86_64+avx2+f16c"))]
        fn check_f16c() {
            multiversion::target::match_target! {
                "x86_64+avx2+f16c" => check(|halves| by_f16c(halves)),
                _ => {}
            }
        }
        check_f16c();
    }
}
