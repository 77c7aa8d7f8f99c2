//! Reads the fields of a JSON object and says which one is not what it should be.

use callbox_core::{Int, Text};
use thiserror::Error;

use crate::json::Json;

/// Why a JSON value is no record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct RecordError(String);

impl RecordError {
    pub(crate) fn new(reason: impl Into<String>) -> RecordError {
        RecordError(reason.into())
    }

    pub(crate) fn missing(name: &str) -> RecordError {
        RecordError(format!("there is no `{name}`"))
    }
}

/// An object whose fields are read by name. Null counts as absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    entries: &'a [(Text, Json)],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Json, name: &str) -> Result<Fields<'a>, RecordError> {
        match value {
            Json::Object(entries) => Ok(Fields { entries }),
            other => Err(unexpected(name, other, "an object")),
        }
    }

    pub(crate) fn entries(self) -> &'a [(Text, Json)] {
        self.entries
    }

    pub(crate) fn any(self, name: &str) -> Option<&'a Json> {
        let mut named = self.entries.iter().filter(|(key, _)| key.as_str() == Some(name));
        named.next().map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a Text>, RecordError> {
        self.typed(name, "a string", |value| if let Json::Text(text) = value { Some(text) } else { None })
    }

    /// Reads a string; lone surrogates become U+FFFD.
    pub(crate) fn string(self, name: &str) -> Result<Option<String>, RecordError> {
        Ok(self.text(name)?.map(ToString::to_string))
    }

    pub(crate) fn required_string(self, name: &str) -> Result<String, RecordError> {
        self.string(name)?.ok_or_else(|| RecordError::missing(name))
    }

    pub(crate) fn unsigned(self, name: &str) -> Result<Option<u64>, RecordError> {
        self.typed(name, "an unsigned integer", as_unsigned)
    }

    pub(crate) fn bool(self, name: &str) -> Result<Option<bool>, RecordError> {
        self.typed(
            name,
            "true or false",
            |value| {
                if let Json::Bool(value) = value { Some(*value) } else { None }
            },
        )
    }

    pub(crate) fn array(self, name: &str) -> Result<Option<&'a [Json]>, RecordError> {
        self.typed(
            name,
            "an array",
            |value| {
                if let Json::Array(items) = value { Some(&**items) } else { None }
            },
        )
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Fields<'a>>, RecordError> {
        self.any(name).map(|value| Fields::of(value, name)).transpose()
    }

    /// Reads an array of strings; an absent one is empty.
    pub(crate) fn strings(self, name: &str) -> Result<Vec<String>, RecordError> {
        let items = self.array(name)?.unwrap_or_default();
        let string = |item: &Json| match item {
            Json::Text(text) => Ok(text.to_string()),
            other => Err(unexpected(name, other, "strings only")),
        };
        items.iter().map(string).collect()
    }

    /// Reads an array of sizes; an absent one is empty.
    pub(crate) fn sizes(self, name: &str) -> Result<Vec<usize>, RecordError> {
        let items = self.array(name)?.unwrap_or_default();
        let size = |item: &Json| {
            let size = as_unsigned(item).and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| unexpected(name, item, "unsigned integers only"))
        };
        items.iter().map(size).collect()
    }

    fn typed<T>(
        self,
        name: &str,
        expected: &str,
        convert: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        let Some(value) = self.any(name) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| unexpected(name, value, expected))
    }
}

fn as_unsigned(value: &Json) -> Option<u64> {
    let Json::Int(value) = value else { return None };
    match value {
        Int::Small(value) => u64::try_from(*value).ok(),
        // Beyond i64 it may still be a u64: an object's address.
        Int::Big(digits) => digits.parse().ok(),
    }
}

fn unexpected(name: &str, found: &Json, expected: &str) -> RecordError {
    let found = match found {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Int(Int::Small(value)) => value.to_string(),
        Json::Int(Int::Big(digits)) => format!("an integer of {} digits", digits.len()),
        Json::Float(value) => value.to_string(),
        Json::Text(_) => "a string".to_owned(),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    };
    RecordError(format!("`{name}` is {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn null_counts_as_absent_and_another_type_is_named() {
        let object =
            json::parse(br#"{"a": null, "b": -1, "c": [1, "x"], "d": 18446744073709551615}"#).unwrap();
        let fields = Fields::of(&object, "record").unwrap();
        assert_eq!(fields.string("a"), Ok(None));
        assert_eq!(fields.required_string("a").unwrap_err().to_string(), "there is no `a`");
        assert_eq!(fields.unsigned("b").unwrap_err().to_string(), "`b` is -1, expected an unsigned integer");
        assert_eq!(fields.strings("c").unwrap_err().to_string(), "`c` is 1, expected strings only");
        assert_eq!(
            fields.sizes("c").unwrap_err().to_string(),
            "`c` is a string, expected unsigned integers only"
        );
        assert_eq!(fields.unsigned("d"), Ok(Some(u64::MAX)));
        assert!(Fields::of(&Json::Null, "record").is_err());
    }
}
