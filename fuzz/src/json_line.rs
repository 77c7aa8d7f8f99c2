//! One line of JSON as Python writes it.

use callbox_sink_fs::json::{self, Json};

/// Parses the input. What is accepted is JSON when it is written strictly, and then says the same.
pub(crate) fn line(input: &[u8]) {
    let json = match json::parse(input) {
        Ok(json) => json,
        Err(error) => {
            assert!(error.offset() <= input.len(), "an error at {} of {} bytes", error.offset(), input.len());
            check_refusal(input);
            return;
        }
    };
    let strict = json.to_strict_string();
    let again = json::parse(strict.as_bytes()).expect("what is written strictly can be read");
    assert_eq!(again.to_strict_string(), strict);
    if !has_special(&json) {
        assert_eq!(again, json);
    }
    let is_standard = serde_json::from_str::<serde_json::Value>(&strict);
    // Lone surrogates have no place in the standard's readers, integers of any size have.
    if let Err(error) = is_standard {
        let message = error.to_string();
        let allowed = ["surrogate", "hex escape", "recursion limit", "number out of range"];
        assert!(allowed.iter().any(|what| message.contains(what)), "{message}: {strict}");
    }
}

/// Fails if a line was refused that the standard allows, and that is not refused for a reason of ours: depth, or a
/// key that occurs twice.
fn check_refusal(input: &[u8]) {
    let Ok(standard) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    // Written by serde_json, no key is there twice: the map keeps the last.
    let text = standard.to_string();
    json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("refused: {error}: {text}"));
    // Then it was a key that was refused.
    let reason = json::parse(input).expect_err("it was refused before").to_string();
    assert!(reason.contains("twice") || reason.contains("deep"), "{reason}");
}

/// Tells whether there is a number that the strict text spells as a string.
fn has_special(json: &Json) -> bool {
    match json {
        Json::Float(value) => !value.is_finite(),
        Json::Array(items) => items.iter().any(has_special),
        Json::Object(entries) => entries.iter().any(|(_, value)| has_special(value)),
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Text(_) => false,
    }
}
