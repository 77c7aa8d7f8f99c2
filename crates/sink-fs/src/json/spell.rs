//! How numbers and strings are spelled, and what stands between them.
//!
//! Everything is appended to one string: a record becomes its line without a tree in between.

use std::fmt::{Arguments, Write};

use callbox_core::{Text, python};

/// Whose rules the text follows, where Python's `json` module goes beyond the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `json.dumps` as it is by default: ASCII alone, bare `NaN` and infinities.
    Python,
    /// RFC 8259: characters as they are, `"NaN"` and the infinities as strings.
    Strict,
}

/// The entries of an object that is being written.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    out: &'a mut String,
    dialect: Dialect,
    is_first: bool,
}

impl Entries<'_> {
    /// Begins an entry; the caller writes its value, and nothing else, into what is returned.
    pub(crate) fn key(&mut self, key: &str) -> &mut String {
        self.separate();
        push_str(self.out, key, self.dialect);
        self.out.push_str(": ");
        self.out
    }

    /// The same for a key that may hold lone surrogates.
    pub(crate) fn text_key(&mut self, key: &Text) -> &mut String {
        self.separate();
        push_text(self.out, key, self.dialect);
        self.out.push_str(": ");
        self.out
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push_str(", ");
        }
    }
}

/// Writes an object; `write` adds its entries.
pub(crate) fn push_object(out: &mut String, dialect: Dialect, write: impl FnOnce(&mut Entries<'_>)) {
    out.push('{');
    write(&mut Entries { out, dialect, is_first: true });
    out.push('}');
}

/// Writes an array; `write` adds one item.
pub(crate) fn push_array<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
    out.push(']');
}

pub(crate) fn push_bool(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}

pub(crate) fn push_int(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Writes decimal digits: a record has dozens of small numbers, and formatting machinery costs more than they do.
pub(crate) fn push_unsigned(out: &mut String, value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push_str(str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

/// Writes the fewest digits that read back as the same float, in the form of Python's `repr`.
pub(crate) fn push_float(out: &mut String, value: f64, dialect: Dialect) {
    if !value.is_finite() {
        let name = match (value.is_nan(), value > 0.0) {
            (true, _) => "NaN",
            (false, true) => "Infinity",
            (false, false) => "-Infinity",
        };
        return match dialect {
            Dialect::Python => out.push_str(name),
            Dialect::Strict => push_str(out, name, dialect),
        };
    }
    python::push_float(out, value);
}

pub(crate) fn push_text(out: &mut String, text: &Text, dialect: Dialect) {
    match text.as_str() {
        Some(text) => push_str(out, text, dialect),
        None => {
            out.push('"');
            text.code_points().for_each(|code_point| push_code_point(out, code_point, dialect));
            out.push('"');
        }
    }
}

pub(crate) fn push_str(out: &mut String, text: &str, dialect: Dialect) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(plain_len(rest.as_bytes()));
        out.push_str(plain);
        let mut characters = behind.chars();
        let Some(special) = characters.next() else { break };
        push_code_point(out, u32::from(special), dialect);
        rest = characters.as_str();
    }
    out.push('"');
}

/// Counts the bytes before the first that may need an escape: printable ASCII but for quote and backslash.
fn plain_len(bytes: &[u8]) -> usize {
    let is_special = |byte: u8| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\';
    // Looking at every byte of a block lets the compiler look at them all at once.
    let (blocks, _) = bytes.as_chunks::<16>();
    let is_plain = |block: &&[u8; 16]| !block.iter().fold(false, |special, &byte| special | is_special(byte));
    let looked_at = blocks.iter().take_while(is_plain).count() * 16;
    let rest = &bytes[looked_at..];
    looked_at + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

fn push_code_point(out: &mut String, code_point: u32, dialect: Dialect) {
    match (char::from_u32(code_point), dialect) {
        (Some('"'), _) => out.push_str("\\\""),
        (Some('\\'), _) => out.push_str("\\\\"),
        (Some('\u{8}'), _) => out.push_str("\\b"),
        (Some('\u{c}'), _) => out.push_str("\\f"),
        (Some('\n'), _) => out.push_str("\\n"),
        (Some('\r'), _) => out.push_str("\\r"),
        (Some('\t'), _) => out.push_str("\\t"),
        (Some(character @ ' '..='~'), _) => out.push(character),
        (Some(character), Dialect::Strict) if !character.is_control() => out.push(character),
        (Some(character), _) => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                append(out, format_args!("\\u{unit:04x}"));
            }
        }
        (None, _) => append(out, format_args!("\\u{code_point:04x}")),
    }
}

fn append(out: &mut String, text: Arguments<'_>) {
    out.write_fmt(text).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    fn check_float(value: f64, python: &str, strict: &str) {
        assert_eq!(spelled(|out| push_float(out, value, Dialect::Python)), python);
        assert_eq!(spelled(|out| push_float(out, value, Dialect::Strict)), strict);
    }

    fn check_text(code_points: &[u32], python: &str, strict: &str) {
        let mut text = Text::default();
        code_points.iter().for_each(|&code_point| text.push_code_point(code_point));
        assert_eq!(spelled(|out| push_text(out, &text, Dialect::Python)), python);
        assert_eq!(spelled(|out| push_text(out, &text, Dialect::Strict)), strict);
    }

    #[test]
    fn floats_are_spelled_as_python_s_repr_spells_them() {
        for (value, text) in [
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (-0.0, "-0.0"),
            (2.0, "2.0"),
            (1e-6, "1e-06"),
            (0.0001, "0.0001"),
            (0.000_099_999_999_999_999_99, "9.999999999999999e-05"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1.5e-7, "-1.5e-07"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            check_float(value, text, text);
        }
        check_float(f64::NAN, "NaN", "\"NaN\"");
        check_float(f64::INFINITY, "Infinity", "\"Infinity\"");
        check_float(f64::NEG_INFINITY, "-Infinity", "\"-Infinity\"");
    }

    #[test]
    fn strings_are_ascii_for_python_and_what_they_are_for_others() {
        check_text(&[0x22, 0x5c, 0x8, 0xc, 0xa, 0xd, 0x9], r#""\"\\\b\f\n\r\t""#, r#""\"\\\b\f\n\r\t""#);
        check_text(&[0, 0x1f, 0x7f, 0x2f], r#""\u0000\u001f\u007f/""#, r#""\u0000\u001f\u007f/""#);
        check_text(&[0xe9, 0x2028, 0x1f600], r#""\u00e9\u2028\ud83d\ude00""#, "\"é\u{2028}😀\"");
        check_text(&[0xd800, 0x61, 0x1f600], r#""\ud800a\ud83d\ude00""#, r#""\ud800a😀""#);
    }

    proptest! {
        #[test]
        fn plain_runs_end_where_a_plain_search_ends_them(text in "[ -~]{0,40}[\u{0}-\u{ff}]{0,3}[ -~]{0,20}") {
            let special = |c: char| !(' '..='~').contains(&c) || c == '"' || c == '\\';
            prop_assert_eq!(plain_len(text.as_bytes()), text.find(special).unwrap_or(text.len()));
        }

        #[test]
        fn numbers_have_their_decimal_digits(value in any::<i64>(), unsigned in any::<u64>()) {
            prop_assert_eq!(spelled(|out| push_int(out, value)), value.to_string());
            prop_assert_eq!(spelled(|out| push_unsigned(out, unsigned)), unsigned.to_string());
        }
    }
}
