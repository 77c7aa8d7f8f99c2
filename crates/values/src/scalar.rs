//! Truth values, integers, floats, characters and text.

use std::any::type_name;

use callbox_core::{Int, LiveValue, OwnedValue, Value};
use half::{bf16, f16};

use crate::from_value::{FromValue, FromValueError};
use crate::to_value::ToValue;

impl ToValue for bool {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Bool(*self)
    }
}

impl FromValue for bool {
    fn from_value(value: OwnedValue) -> Result<bool, FromValueError> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(FromValueError::kind("a truth value", &other)),
        }
    }
}

macro_rules! integers {
    ($($integer:ty),+) => { $(
        impl ToValue for $integer {
            fn to_value(&self) -> LiveValue<'_> {
                Value::Int(i64::try_from(*self).map_or_else(|_| Int::Big(self.to_string()), Int::Small))
            }
        }

        impl FromValue for $integer {
            fn from_value(value: OwnedValue) -> Result<$integer, FromValueError> {
                let Value::Int(int) = value else {
                    return Err(FromValueError::kind("an integer", &value));
                };
                let fitting = match &int {
                    Int::Small(value) => <$integer>::try_from(*value).ok(),
                    Int::Big(digits) => digits.parse().ok(),
                };
                fitting.ok_or_else(|| FromValueError::OutOfRange {
                    value: int.to_string(),
                    wanted: stringify!($integer),
                })
            }
        }
    )+ };
}

integers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

/// Records the same number as an f64, as Python has no other float.
macro_rules! floats {
    ($($float:ty: $widen:expr, $narrow:expr;)+) => { $(
        impl ToValue for $float {
            fn to_value(&self) -> LiveValue<'_> {
                Value::Float($widen(*self))
            }
        }

        /// Takes an integer too, as Python does; rounds to nearest.
        impl FromValue for $float {
            fn from_value(value: OwnedValue) -> Result<$float, FromValueError> {
                number(&value).map($narrow)
            }
        }
    )+ };
}

floats! {
    f64: f64::from, f64::from;
    f32: f64::from, |value| value as f32;
    f16: f64::from, f16::from_f64;
    bf16: f64::from, bf16::from_f64;
}

fn number(value: &OwnedValue) -> Result<f64, FromValueError> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(Int::Small(value)) => Ok(*value as f64),
        Value::Int(Int::Big(digits)) => digits.parse().map_err(|_| out_of_range::<f64>(digits)),
        other => Err(FromValueError::kind("a number", other)),
    }
}

fn out_of_range<T>(value: &str) -> FromValueError {
    FromValueError::OutOfRange { value: value.to_owned(), wanted: type_name::<T>() }
}

impl ToValue for str {
    fn to_value(&self) -> LiveValue<'_> {
        Value::text(self)
    }
}

impl ToValue for String {
    fn to_value(&self) -> LiveValue<'_> {
        Value::text(self)
    }
}

/// Fails on a text with lone surrogates, which no Rust string can hold.
impl FromValue for String {
    fn from_value(value: OwnedValue) -> Result<String, FromValueError> {
        match value {
            Value::Text(text) => match text.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(FromValueError::Text { wanted: "Unicode text", text: text.to_string() }),
            },
            other => Err(FromValueError::kind("a string", &other)),
        }
    }
}

/// Recorded as a text of one character.
impl ToValue for char {
    fn to_value(&self) -> LiveValue<'_> {
        Value::text(self.encode_utf8(&mut [0; 4]))
    }
}

impl FromValue for char {
    fn from_value(value: OwnedValue) -> Result<char, FromValueError> {
        let text = String::from_value(value)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            (_, _) => Err(FromValueError::Text { wanted: "single character", text }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_64_bits_keep_their_digits() {
        for (value, digits) in [(u128::MAX, u128::MAX.to_string()), (1 << 63, (1u128 << 63).to_string())] {
            assert!(matches!(value.to_value(), Value::Int(Int::Big(text)) if text == digits));
            assert_eq!(u128::from_value(Value::Int(Int::Big(digits))).unwrap(), value);
        }
        assert!(matches!((i64::MAX as u64).to_value(), Value::Int(Int::Small(i64::MAX))));
    }

    #[test]
    fn an_integer_that_does_not_fit_is_refused_by_name() {
        let text = |error: FromValueError| error.to_string();
        assert_eq!(text(u8::from_value(Value::int(256)).unwrap_err()), "256 does not fit into u8");
        assert_eq!(text(usize::from_value(Value::int(-1)).unwrap_err()), "-1 does not fit into usize");
        let big = Value::Int(Int::from_decimal("9223372036854775808"));
        assert_eq!(text(i64::from_value(big).unwrap_err()), "9223372036854775808 does not fit into i64");
        let error = i32::from_value(Value::Float(1.0)).unwrap_err();
        assert_eq!(text(error), "expected an integer, found a value of type float");
    }

    #[test]
    fn floats_take_integers_and_integers_no_floats() {
        assert_eq!(f32::from_value(Value::int(3)).unwrap(), 3.0);
        assert_eq!(f64::from_value(Value::Int(Int::from_decimal("100000000000000000000"))).unwrap(), 1e20);
        assert!(u8::from_value(Value::Float(3.0)).is_err());
        assert!(f32::from_value(Value::Bool(true)).is_err());
    }

    #[test]
    fn an_f32_is_recorded_as_python_shows_it() {
        assert!(matches!(0.1f32.to_value(), Value::Float(0.100_000_001_490_116_12)));
        assert!(matches!(f16::from_f32(0.1).to_value(), Value::Float(0.099_975_585_937_5)));
    }

    #[test]
    fn a_character_is_a_text_of_one() {
        assert_eq!(char::from_value(Value::text("é")).unwrap(), 'é');
        for text in ["", "ab"] {
            assert!(
                matches!(char::from_value(Value::text(text)), Err(FromValueError::Text { .. })),
                "{text:?}"
            );
        }
    }
}
