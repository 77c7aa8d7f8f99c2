//! Builds trees.

use callbox_core::{Text, planted};

use super::{Json, JsonError, Kind, Scanner};

/// Reads one JSON value.
///
/// Accepts what Python's `json.dumps` writes; `1e999` is infinite, as Python reads it. Refuses what Python
/// would not write: containers nested deeper than [`super::MAX_DEPTH`], keys that appear twice, a byte order
/// mark, control characters inside strings, invalid UTF-8, text behind the value.
///
/// ```
/// use callbox_sink_fs::json;
///
/// let scale = json::parse(br#"{"kwarg_scale": -Infinity}"#)?;
/// assert_eq!(scale.to_strict_string(), r#"{"kwarg_scale": "-Infinity"}"#);
/// # Ok::<(), json::JsonError>(())
/// ```
pub fn parse(text: &[u8]) -> Result<Json, JsonError> {
    let mut scanner = Scanner::new(text)?;
    let value = value(&mut scanner)?;
    scanner.end()?;
    Ok(value)
}

fn value(scanner: &mut Scanner<'_>) -> Result<Json, JsonError> {
    Ok(match scanner.peek()? {
        Kind::Null => {
            scanner.null()?;
            Json::Null
        }
        Kind::Bool => Json::Bool(scanner.bool()?),
        Kind::Number => scanner.number()?.to_json(),
        Kind::String => Json::Text(scanner.string()?.to_text()),
        Kind::Array => {
            let mut items = Vec::new();
            scanner.array(|scanner| {
                items.push(value(scanner)?);
                Ok(())
            })?;
            Json::Array(items)
        }
        Kind::Object => {
            let mut entries = Vec::new();
            scanner.object(|scanner, key| {
                entries.push((key.to_text(), value(scanner)?));
                Ok(())
            })?;
            refuse_repeated_keys(&entries, scanner.offset())?;
            Json::Object(entries)
        }
    })
}

/// Compares neighbours in sorted order: an object of a million keys must not take a million squared steps.
fn refuse_repeated_keys(entries: &[(Text, Json)], end: usize) -> Result<(), JsonError> {
    let mut keys: Vec<&Text> = entries.iter().map(|(key, _)| key).collect();
    if planted::bug("last_key_wins") {
        return Ok(());
    }
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(JsonError::new(end - 1, format!("the object has the key {:?} twice", pair[0]))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::Int;
    use proptest::prelude::*;

    use super::super::scan;
    use super::*;

    fn check(text: &str, expected: &Json) {
        assert_eq!(format!("{:?}", parse(text.as_bytes()).unwrap()), format!("{expected:?}"), "{text}");
    }

    fn check_refused(text: impl AsRef<[u8]>, reason: &str) {
        let error = parse(text.as_ref()).unwrap_err();
        assert!(error.reason().contains(reason), "{error}");
    }

    #[test]
    fn u48_numbers_are_read_as_python_reads_them() {
        for (text, expected) in [
            ("NaN", f64::NAN),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
            ("-1E+999", f64::NEG_INFINITY),
            ("5e-324", 5e-324),
            ("-0.0", -0.0),
            ("1e-06", 1e-6),
        ] {
            check(text, &Json::Float(expected));
        }
        check("-0", &Json::Int(Int::Small(0)));
        check("1180591620717411303424", &Json::Int(Int::Big("1180591620717411303424".to_owned())));
    }

    #[test]
    fn u48_lone_surrogates_survive_and_pairs_become_characters() {
        let mut lone = Text::default();
        lone.push_code_point(0xd800);
        check(r#""\ud800""#, &Json::Text(lone));
        check(r#""\ud83d\ude00""#, &Json::Text(Text::from("😀")));
        check("\"\u{7f}\u{2028}é\"", &Json::Text(Text::from("\u{7f}\u{2028}é")));
        check(r#""\"\\\/\b\f\n\r\t\u0041""#, &Json::Text(Text::from("\"\\/\u{8}\u{c}\n\r\tA")));
    }

    #[test]
    fn u58_what_python_does_not_write_is_refused() {
        check_refused(r#"{"a": 1, "b": 2, "a": 3}"#, "the key \"a\" twice");
        check_refused("{\"a\": 1, \"\\u0061\": 3}", "the key \"a\" twice");
        check_refused("\u{feff}{}", "byte order mark");
        check_refused(b"\"\xff\"", "not UTF-8");
        check_refused("\"a\nb\"", "control character");
        check_refused("\"a\0b\"", "control character");
        check_refused("\0", "expected a value");
        check_refused("{} x", "more text");
        check_refused("", "expected a value");
        check_refused("nul", "expected null");
        check_refused("-NaN", "expected a digit");
        check_refused("+1", "expected a value");
        check_refused(".5", "expected a value");
        check_refused("01", "more text");
        check_refused("1.", "expected a digit");
        check_refused("1e", "expected a digit");
        check_refused("[1,]", "expected a value");
        check_refused("{\"a\": 1,}", "expected a string");
        check_refused("'a'", "expected a value");
        check_refused(r#""\u12g4""#, "escape");
        check_refused(r#""\u12"#, "escape");
    }

    #[test]
    fn u62_nesting_ends_at_128() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(128).as_bytes()).is_ok());
        check_refused(nested(129), "nested deeper than 128");
        assert!(parse(format!("[{}[]]", "[], {}, ".repeat(200)).as_bytes()).is_ok());
        check_refused("[".repeat(100_000), "nested deeper than 128");
        check_refused("{\"a\":".repeat(100_000), "nested deeper than 128");
    }

    #[test]
    fn a_million_keys_take_no_million_squared_steps() {
        let keys: Vec<String> = (0..200_000).map(|key| format!("\"{key}\":0")).collect();
        assert!(parse(format!("{{{}}}", keys.join(",")).as_bytes()).is_ok());
    }

    fn fragment() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\\", "\\u", "d800", "1", "-", "0.5", "e9",
            "NaN", "Infinity", "null", "true", " ", "\n", "é",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn skipping_accepts_what_parsing_accepts(text in fragment()) {
            let skipped = scan::Scanner::new(text.as_bytes())
                .and_then(|mut scanner| scanner.skip().and_then(|()| scanner.end()));
            match parse(text.as_bytes()) {
                Ok(_) => prop_assert_eq!(skipped, Ok(())),
                Err(error) if error.reason().contains("twice") => {}
                Err(error) => prop_assert_eq!(skipped, Err(error)),
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Err(error) = parse(&bytes) {
                prop_assert!(error.offset() <= bytes.len());
            }
        }
    }
}
