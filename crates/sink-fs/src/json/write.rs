//! Writes trees as RFC 8259 has them.

use super::Json;
use super::spell::{Dialect, push_array, push_bool, push_float, push_object, push_text};

impl Json {
    /// Writes the value for readers that know the standard only.
    ///
    /// NaN and the infinities become the strings `"NaN"`, `"Infinity"` and `"-Infinity"`; a lone surrogate is
    /// the escape that Python writes for it. Everything else stays what it was: finite floats are spelled as
    /// Python's `repr` spells them, integers keep all their digits.
    pub fn to_strict_string(&self) -> String {
        let mut out = String::new();
        write(&mut out, self);
        out
    }
}

fn write(out: &mut String, value: &Json) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => push_bool(out, *value),
        Json::Int(value) => out.push_str(&value.to_string()),
        Json::Float(value) => push_float(out, *value, Dialect::Strict),
        Json::Text(text) => push_text(out, text, Dialect::Strict),
        Json::Array(items) => push_array(out, items, write),
        Json::Object(entries) => push_object(out, Dialect::Strict, |object| {
            entries.iter().for_each(|(key, value)| write(object.text_key(key), value));
        }),
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{Int, Text};
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(parse(text.as_bytes()).unwrap().to_strict_string(), expected);
    }

    #[test]
    fn what_the_standard_lacks_becomes_a_string() {
        check("[NaN, Infinity, -Infinity, 1e999]", r#"["NaN", "Infinity", "-Infinity", "Infinity"]"#);
        check(r#"{"a": "\ud800", "b": "\u001f\u007f"}"#, r#"{"a": "\ud800", "b": "\u001f\u007f"}"#);
    }

    #[test]
    fn python_s_spelling_survives() {
        for text in [
            "[1e+300, 5e-324, -0.0, 2.0, 1e-06, 1e-05, 0.0001, 1e+16, 1234567890123456.0, 0.1, -1.5e-07]",
            "-10000000000000000000000000000000000000000",
            r#"{"b": [], "a": {}, "": [null, true, false, "\"\\\n\r\t"]}"#,
        ] {
            check(text, text);
        }
    }

    fn text() -> impl Strategy<Value = Text> {
        let code_point = prop_oneof![0u32..0x80, 0xd7f0u32..0xe010, 0x80u32..0x11_0000];
        prop::collection::vec(code_point, 0..8).prop_map(|code_points| {
            let mut text = Text::default();
            code_points.into_iter().for_each(|c| text.push_code_point(c));
            text
        })
    }

    fn tree() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(|value| Json::Int(Int::Small(value))),
            "-?[1-9][0-9]{19,40}".prop_map(|digits| Json::Int(Int::from_decimal(&digits))),
            prop::num::f64::NORMAL.prop_map(Json::Float),
            prop::num::f64::SUBNORMAL.prop_map(Json::Float),
            text().prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                prop::collection::vec((text(), inner), 0..5).prop_map(|mut entries| {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                    entries.dedup_by(|a, b| a.0 == b.0);
                    Json::Object(entries)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(tree in tree()) {
            prop_assert_eq!(parse(tree.to_strict_string().as_bytes()), Ok(tree));
        }
    }
}
