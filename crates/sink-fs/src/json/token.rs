//! The pieces that a scanner finds, and what they mean.

use std::borrow::Cow;

use callbox_core::{Int, Text};

use super::Json;

/// What the next value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawString<'a> {
    raw: &'a [u8],
    escaped: bool,
}

/// A number as it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number<'a> {
    /// Digits, with a sign.
    Integer(&'a [u8]),
    /// With fraction or exponent.
    Decimal(&'a [u8]),
    NaN,
    Infinity,
    MinusInfinity,
}

impl<'a> RawString<'a> {
    pub(super) fn new(raw: &'a [u8], escaped: bool) -> RawString<'a> {
        RawString { raw, escaped }
    }

    /// Returns the text, each lone surrogate replaced by U+FFFD.
    pub(crate) fn to_string_lossy(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(self.to_text().to_string_lossy().into_owned())
        } else {
            Cow::Borrowed(utf8(self.raw))
        }
    }

    /// Returns the bytes as [`RawString::to_string_lossy`] has them, without looking at them: to compare with
    /// known names.
    pub(crate) fn to_bytes(self) -> Cow<'a, [u8]> {
        if self.escaped {
            Cow::Owned(self.to_text().to_string_lossy().into_owned().into_bytes())
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Resolves the escapes.
    pub(crate) fn to_text(self) -> Text {
        if !self.escaped {
            return Text::from(utf8(self.raw));
        }
        let mut text = Text::default();
        let mut rest = utf8(self.raw);
        while let Some(plain) = rest.find('\\') {
            text.push_str(&rest[..plain]);
            let (code_point, len) = match rest.as_bytes()[plain + 1] {
                b'b' => (0x08, 1),
                b'f' => (0x0c, 1),
                b'n' => (0x0a, 1),
                b'r' => (0x0d, 1),
                b't' => (0x09, 1),
                b'u' => (hex(&rest[plain + 2..plain + 6]), 5),
                itself => (u32::from(itself), 1),
            };
            text.push_code_point(code_point);
            rest = &rest[plain + 1 + len..];
        }
        text.push_str(rest);
        text
    }
}

impl Number<'_> {
    /// Converts to a value: floats to the nearest f64, as Python does.
    pub(crate) fn to_json(self) -> Json {
        match self {
            Number::Integer(digits) => Json::Int(Int::from_decimal(utf8(digits))),
            Number::Decimal(digits) => {
                Json::Float(utf8(digits).parse().expect("JSON's floats are among those that Rust reads"))
            }
            Number::NaN => Json::Float(f64::NAN),
            Number::Infinity => Json::Float(f64::INFINITY),
            Number::MinusInfinity => Json::Float(f64::NEG_INFINITY),
        }
    }

    /// Returns an integer that is not negative, if this is one.
    pub(crate) fn as_unsigned(self) -> Option<u64> {
        match self {
            Number::Integer(digits) => utf8(digits).parse().ok(),
            Number::Decimal(_) | Number::NaN | Number::Infinity | Number::MinusInfinity => None,
        }
    }
}

fn hex(digits: &str) -> u32 {
    u32::from_str_radix(digits, 16).expect("the scanner saw four hexadecimal digits")
}

/// Looks at a token as text.
pub(super) fn utf8(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("the whole text was checked, and tokens begin and end at ASCII")
}
