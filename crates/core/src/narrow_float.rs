//! Floats of eight and four bits: what each code means, and rounding to the nearest code.
//!
//! Sources: the OCP 8-bit Floating Point Specification (E4M3, E5M2), the OCP Microscaling Formats
//! Specification (E8M0, E2M1) and the ONNX operator documentation (the `FNUZ` variants). Rounding is to the
//! nearest value, ties to the even code; what lies beyond the largest finite value saturates, as CUDA's
//! conversions do.

/// An eight-bit float format: sign, exponent and mantissa widths, bias, and its special codes.
#[derive(Clone, Copy, Debug)]
pub struct Format8 {
    mantissa_bits: u32,
    bias: i32,
    special: Special,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// All ones is NaN, there is no infinity (E4M3FN).
    NanAtAllOnes,
    /// The highest exponent holds infinity and NaN, as in IEEE 754 (E5M2).
    Ieee,
    /// Negative zero is NaN, there is no infinity (FNUZ).
    NanAtNegativeZero,
}

/// `torch.float8_e4m3fn`: largest finite value 448.
pub const E4M3FN: Format8 = Format8 { mantissa_bits: 3, bias: 7, special: Special::NanAtAllOnes };
/// `torch.float8_e5m2`: largest finite value 57344.
pub(crate) const E5M2: Format8 = Format8 { mantissa_bits: 2, bias: 15, special: Special::Ieee };
/// `torch.float8_e4m3fnuz`: largest finite value 240.
pub(crate) const E4M3FNUZ: Format8 =
    Format8 { mantissa_bits: 3, bias: 8, special: Special::NanAtNegativeZero };
/// `torch.float8_e5m2fnuz`: largest finite value 57344.
pub(crate) const E5M2FNUZ: Format8 =
    Format8 { mantissa_bits: 2, bias: 16, special: Special::NanAtNegativeZero };

/// Value of each `torch.float8_e4m3fn` code.
pub static E4M3FN_VALUES: [f32; 256] = E4M3FN.table();
/// Value of each `torch.float8_e5m2` code.
pub(crate) static E5M2_VALUES: [f32; 256] = E5M2.table();
/// Value of each `torch.float8_e4m3fnuz` code.
pub(crate) static E4M3FNUZ_VALUES: [f32; 256] = E4M3FNUZ.table();
/// Value of each `torch.float8_e5m2fnuz` code.
pub(crate) static E5M2FNUZ_VALUES: [f32; 256] = E5M2FNUZ.table();

/// Value of each e2m1 code; bit 3 is the sign.
pub const E2M1_VALUES: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

impl Format8 {
    /// Returns the value of a code.
    pub const fn decode(self, code: u8) -> f32 {
        let magnitude = (code & 0x7f) as u32;
        let negative = code & 0x80 != 0;
        match self.special {
            Special::NanAtAllOnes if magnitude == 0x7f => return f32::NAN,
            Special::NanAtNegativeZero if code == 0x80 => return f32::NAN,
            Special::Ieee if magnitude >> self.mantissa_bits == 0x7f >> self.mantissa_bits => {
                let infinite = magnitude & ((1 << self.mantissa_bits) - 1) == 0;
                return match (infinite, negative) {
                    (false, _) => f32::NAN,
                    (true, false) => f32::INFINITY,
                    (true, true) => f32::NEG_INFINITY,
                };
            }
            Special::NanAtAllOnes | Special::NanAtNegativeZero | Special::Ieee => {}
        }
        let exponent = (magnitude >> self.mantissa_bits) as i32;
        let mantissa = magnitude & ((1 << self.mantissa_bits) - 1);
        let value = if exponent == 0 {
            mantissa as f32 * power_of_two(1 - self.bias - self.mantissa_bits as i32)
        } else {
            let significand = (1 << self.mantissa_bits) + mantissa;
            significand as f32 * power_of_two(exponent - self.bias - self.mantissa_bits as i32)
        };
        if negative { -value } else { value }
    }

    const fn table(self) -> [f32; 256] {
        let mut values = [0.0; 256];
        let mut code = 0;
        while code < 256 {
            values[code] = self.decode(code as u8);
            code += 1;
        }
        values
    }

    /// Rounds to the nearest code, ties to the even code; saturates at the largest finite value. NaN stays
    /// NaN.
    pub fn encode(self, value: f32) -> u8 {
        if value.is_nan() {
            return if self.special == Special::NanAtNegativeZero { 0x80 } else { 0x7f };
        }
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        let largest = self.largest_finite();
        // Rounded in units of the last place of the value's binade: exact in f32, since the unit is a power
        // of two far above f32's smallest.
        let magnitude = value.abs();
        if magnitude >= self.decode(largest) {
            return sign | largest;
        }
        let lowest = 1 - self.bias;
        let binade = exponent_of(magnitude).max(lowest);
        let unit = power_of_two(binade - self.mantissa_bits as i32);
        let steps = (magnitude / unit).round_ties_even() as u32;
        let code = ((binade - lowest) as u32) << self.mantissa_bits;
        let code = (code + steps).min(u32::from(largest)) as u8;
        if code == 0 && self.special == Special::NanAtNegativeZero {
            return 0;
        }
        sign | code
    }

    const fn largest_finite(self) -> u8 {
        match self.special {
            Special::NanAtAllOnes => 0x7e,
            Special::NanAtNegativeZero => 0x7f,
            Special::Ieee => (0x7f & !((1 << self.mantissa_bits) - 1)) - 1,
        }
    }
}

/// Returns the value of a `torch.float8_e8m0fnu` code: `2^(code - 127)`, NaN for 255.
pub const fn decode_e8m0(code: u8) -> f32 {
    match code {
        0xff => f32::NAN,
        // 2^-127 lies below f32's smallest normal number.
        0 => f32::from_bits(1 << 22),
        code => f32::from_bits((code as u32) << 23),
    }
}

/// Rounds a positive value to the nearest power of two, ties to the even code, as a
/// `torch.float8_e8m0fnu` code; saturates at both ends. Zero and negative values give the smallest code.
pub(crate) fn encode_e8m0(value: f32) -> u8 {
    if value.is_nan() {
        return 0xff;
    }
    if value < decode_e8m0(1) {
        // The smallest two codes are 2^-127 and 2^-126, and f32 has no exponent below the second: a value
        // under it is nearer to one or the other. The one in the middle goes to the even code.
        return u8::from(value > 1.5 * decode_e8m0(0));
    }
    let bits = value.to_bits();
    let (exponent, mantissa) = (bits >> 23, bits & 0x7f_ffff);
    let half = 1 << 22;
    let up = mantissa > half || (mantissa == half && exponent % 2 == 1);
    (exponent + u32::from(up)).min(0xfe) as u8
}

/// Rounds to the nearest e2m1 code, ties to the even code; saturates at 6. The sign of a zero is kept.
///
/// NaN gives the largest code of its sign, as a saturating conversion does.
pub fn encode_e2m1(value: f32) -> u8 {
    let magnitude = value.abs();
    let code = match magnitude {
        m if m <= 0.25 => 0,
        m if m < 0.75 => 1,
        m if m <= 1.25 => 2,
        m if m < 1.75 => 3,
        m if m <= 2.5 => 4,
        m if m < 3.5 => 5,
        m if m <= 5.0 => 6,
        _ => 7,
    };
    if value.is_sign_negative() { code | 8 } else { code }
}

/// Returns `floor(log2(value))` for a normal positive number, and something below every format's lowest
/// binade for zero and subnormal ones.
fn exponent_of(value: f32) -> i32 {
    (value.to_bits() >> 23) as i32 - 127
}

const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [Format8; 4] = [E4M3FN, E5M2, E4M3FNUZ, E5M2FNUZ];

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for format in FORMATS {
            for code in 0..=255u8 {
                let value = format.decode(code);
                if value.is_finite() {
                    assert_eq!(format.encode(value), code, "{format:?} {code:#x} {value}");
                }
            }
        }
        for code in 0..=254u8 {
            assert_eq!(encode_e8m0(decode_e8m0(code)), code);
        }
        for (code, value) in E2M1_VALUES.iter().enumerate() {
            assert_eq!(encode_e2m1(*value), code as u8);
        }
    }

    #[test]
    fn the_known_limits_hold() {
        assert_eq!(E4M3FN.decode(0x7e), 448.0);
        assert_eq!(E5M2.decode(0x7b), 57344.0);
        assert_eq!(E4M3FNUZ.decode(0x7f), 240.0);
        assert_eq!(E5M2FNUZ.decode(0x7f), 57344.0);
        assert_eq!(E5M2.decode(0x7c), f32::INFINITY);
        assert!(E4M3FN.decode(0x7f).is_nan() && E4M3FNUZ.decode(0x80).is_nan());
        assert_eq!(E4M3FN.decode(0x01), 2f32.powi(-9));
        assert_eq!(E4M3FN.encode(1e9), 0x7e);
        assert_eq!(decode_e8m0(127), 1.0);
        assert_eq!(decode_e8m0(0), 2f32.powi(-127));
    }

    /// The nearest finite code by trying all of them; of two at equal distance the even one.
    fn nearest(decode: impl Fn(u8) -> f32, value: f32) -> f32 {
        let best = (0..=255u8)
            .filter(|&code| decode(code).is_finite())
            .min_by(|&a, &b| {
                let distance = |code| (f64::from(decode(code)) - f64::from(value)).abs();
                distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)))
            })
            .unwrap();
        decode(best)
    }

    #[test]
    fn e8m0_below_its_second_power_is_rounded_to_nearest_too() {
        for (factor, code) in [(0.0, 0), (0.5, 0), (1.1, 0), (1.5, 0), (1.6, 1), (2.0, 1)] {
            assert_eq!(encode_e8m0(factor * decode_e8m0(0)), code, "{factor} * 2^-127");
        }
        assert_eq!(encode_e8m0(-1.0), 0);
    }

    proptest! {
        #[test]
        fn encoding_takes_the_nearest_code_with_ties_to_even(
            value in prop_oneof![-500f32..500.0, -0.02f32..0.02, -70000f32..70000.0],
            tie in any::<(u8, bool)>(),
        ) {
            for format in FORMATS {
                let (low, high) = (format.decode(tie.0 & 0x7f), format.decode((tie.0 & 0x7f).saturating_add(1)));
                let middle = (low + high) / 2.0;
                for value in [value, if tie.1 { middle } else { -middle }] {
                    if value.is_finite() {
                        prop_assert_eq!(format.decode(format.encode(value)), nearest(|code| format.decode(code), value), "{}", value);
                    }
                }
            }
        }

        /// Every f32 that is not negative, a third of them below 2^-125, and every middle of two powers.
        #[test]
        fn e8m0_takes_the_nearest_power_with_ties_to_even(
            bits in prop_oneof![2 => 0u32..=0x7f7f_ffff, 1 => 0u32..=0x0100_0000],
            tie in 0u8..254,
        ) {
            let middle = 1.5 * decode_e8m0(tie);
            for value in [f32::from_bits(bits), middle, middle.next_up(), middle.next_down()] {
                let expected = nearest(decode_e8m0, value);
                prop_assert_eq!(decode_e8m0(encode_e8m0(value)), expected, "{:e}", value);
            }
        }
    }
}
