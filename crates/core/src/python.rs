//! Texts as Python's `repr` and `str` give them.

use std::fmt::Write;

use crate::text::Text;

/// Appends a float: the fewest digits that read back as the same number, `nan`, `inf` or `-inf`.
///
/// ```
/// let mut text = String::new();
/// callbox_core::python::push_float(&mut text, 1e-6);
/// assert_eq!(text, "1e-06");
/// ```
pub fn push_float(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str(match (value.is_nan(), value > 0.0) {
            (true, _) => "nan",
            (false, true) => "inf",
            (false, false) => "-inf",
        });
    } else if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        let start = out.len();
        let shortest = format!("{value}");
        let decimals = decimals_of(&shortest);
        out.push_str(&nearest(shortest, format!("{value:.decimals$}"), value));
        if !out[start..].contains('.') {
            out.push_str(".0");
        }
    } else {
        let shortest = format!("{value:e}");
        let (digits, _) = in_two(&shortest);
        let decimals = decimals_of(digits);
        let scientific = nearest(shortest, format!("{value:.decimals$e}"), value);
        let (digits, exponent) = in_two(&scientific);
        let exponent: i32 = exponent.parse().expect("the exponent is an integer");
        append(out, format_args!("{digits}e{exponent:+03}"));
    }
}

/// Chooses between texts of one length: Python takes the nearest, and of two that are equally near the even one.
/// Rust's shortest text is as short, and may be the other.
fn nearest(shortest: String, rounded: String, value: f64) -> String {
    if rounded.parse() == Ok(value) { rounded } else { shortest }
}

fn decimals_of(digits: &str) -> usize {
    digits.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

fn in_two(scientific: &str) -> (&str, &str) {
    scientific.split_once('e').expect("scientific notation has an exponent")
}

/// Appends a string in quotes, escaped as `repr` does it.
///
/// ```
/// let mut text = String::new();
/// callbox_core::python::push_text(&mut text, &"it's\n".into());
/// assert_eq!(text, r#""it's\n""#);
/// ```
pub fn push_text(out: &mut String, text: &Text) {
    let has = |quote: char| text.code_points().any(|code_point| code_point == u32::from(quote));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    out.push(quote);
    for code_point in text.code_points() {
        match char::from_u32(code_point) {
            Some('\\') => out.push_str("\\\\"),
            Some(character) if character == quote => out.extend(['\\', quote]),
            Some(character) if is_printable(character) => out.push(character),
            Some(_) | None => push_escape(out, code_point),
        }
    }
    out.push(quote);
}

/// Appends a tuple of sizes: `(2, 3)`, `(1,)`, `()`.
pub fn push_sizes(out: &mut String, sizes: &[usize]) {
    out.push('(');
    for (place, size) in sizes.iter().enumerate() {
        let separator = if place > 0 { ", " } else { "" };
        append(out, format_args!("{separator}{size}"));
    }
    out.push_str(if sizes.len() == 1 { ",)" } else { ")" });
}

/// Appends the escape of a character that cannot be shown.
///
/// ```
/// let mut text = String::new();
/// callbox_core::python::push_escape(&mut text, 0x1b);
/// assert_eq!(text, r"\x1b");
/// ```
pub fn push_escape(out: &mut String, code_point: u32) {
    match code_point {
        0x09 => out.push_str("\\t"),
        0x0a => out.push_str("\\n"),
        0x0d => out.push_str("\\r"),
        0..0x100 => append(out, format_args!("\\x{code_point:02x}")),
        0x100..0x1_0000 => append(out, format_args!("\\u{code_point:04x}")),
        0x1_0000.. => append(out, format_args!("\\U{code_point:08x}")),
    }
}

/// Tells what `str.isprintable` tells of a character.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..' ' | '\x7f' => false,
        other => {
            // Rust's own rule for showing characters is by the same categories. Behind another character, as
            // here, it leaves combining marks as they are, and so does Python.
            let mut pair = String::from("a");
            pair.push(other);
            pair.escape_debug().nth(1) == Some(other)
        }
    }
}

fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(value: f64) -> String {
        let mut out = String::new();
        push_float(&mut out, value);
        out
    }

    fn text(value: &str) -> String {
        let mut out = String::new();
        push_text(&mut out, &Text::from(value));
        out
    }

    #[test]
    fn floats_are_spelled_as_python_spells_them() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1e22, "1e+22"),
            (5e-324, "5e-324"),
            (1e300, "1e+300"),
            (123456789.125, "123456789.125"),
            (577.0 / 1_048_576.0, "0.0005502700805664062"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn strings_are_quoted_and_escaped_as_python_does_it() {
        for (value, expected) in [
            ("", "''"),
            ("a'b\"c\n\t\\ é ✅", r#"'a\'b"c\n\t\\ é ✅'"#),
            ("it's", "\"it's\""),
            ("\0\x1b\x7f\u{a0}", r"'\x00\x1b\x7f\xa0'"),
            ("\u{2028}\u{10ffff}", r"'\u2028\U0010ffff'"),
            ("e\u{301}", "'e\u{301}'"),
        ] {
            assert_eq!(text(value), expected, "{value:?}");
        }
        let mut lone = Text::default();
        lone.push_code_point(0xd800);
        let mut out = String::new();
        push_text(&mut out, &lone);
        assert_eq!(out, r"'\ud800'");
    }

    #[test]
    fn sizes_are_a_tuple() {
        let sizes = |sizes: &[usize]| {
            let mut out = String::new();
            push_sizes(&mut out, sizes);
            out
        };
        assert_eq!([sizes(&[]), sizes(&[1]), sizes(&[2, 3])], ["()", "(1,)", "(2, 3)"]);
    }
}
