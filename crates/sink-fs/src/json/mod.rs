//! JSON as Python's `json` module writes it: bare `NaN` and infinities, integers of any size, lone surrogates.
//!
//! Everything else that the JSON standard (RFC 8259) does not know is refused, and so are keys that appear
//! twice. [`parse`] builds a tree, [`Json::to_strict_string`] writes it for readers that know the standard
//! only. Both the tree and the index of a session stand on one scanner, so that they agree on what a whole
//! line is; and both the strict text and a record's line are spelled by the same few functions.

mod parse;
mod scan;
mod spell;
mod token;
mod write;

use callbox_core::{Int, Text};
use thiserror::Error;

pub use parse::parse;
pub(crate) use scan::Scanner;
pub(crate) use spell::{
    Dialect, Entries, push_array, push_bool, push_float, push_int, push_object, push_str, push_text,
    push_unsigned,
};
pub(crate) use token::{Kind, RawString};

/// Containers may lie this deep inside each other.
///
/// FlashInfer cuts values at 8 containers, which take two levels each.
pub const MAX_DEPTH: u32 = 128;

/// A JSON value. Objects keep the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction and exponent.
    Int(Int),
    /// A number with fraction or exponent, or `NaN`, `Infinity`, `-Infinity`.
    Float(f64),
    /// A string.
    Text(Text),
    /// An array.
    Array(Vec<Json>),
    /// An object; no key appears twice.
    Object(Vec<(Text, Json)>),
}

impl Json {
    /// Finds the value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(entries) => {
                let mut found = entries.iter().filter(|(name, _)| name.as_str() == Some(key));
                found.next().map(|(_, value)| value)
            }
            Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) | Json::Text(_) | Json::Array(_) => {
                None
            }
        }
    }
}

/// Why a text is not JSON that Python wrote.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("column {}: {}", self.column(), self.reason())]
pub struct JsonError {
    // Boxed, so that the results of the scanner's small functions fit into registers.
    fault: Box<Fault>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    offset: usize,
    reason: String,
}

impl JsonError {
    #[cold]
    pub(crate) fn new(offset: usize, reason: impl Into<String>) -> JsonError {
        let reason = reason.into();
        JsonError { fault: Box::new(Fault { offset, reason }) }
    }

    /// Says which key's value it is in.
    #[cold]
    pub(crate) fn of_key(mut self, key: RawString<'_>) -> JsonError {
        self.fault.reason = format!("`{}`: {}", key.to_string_lossy(), self.fault.reason);
        self
    }

    /// Returns the place, in bytes from the start of the text.
    pub fn offset(&self) -> usize {
        self.fault.offset
    }

    /// Returns the place as editors count it, from 1; in bytes.
    pub fn column(&self) -> usize {
        self.fault.offset + 1
    }

    /// Says what is wrong there.
    pub fn reason(&self) -> &str {
        &self.fault.reason
    }
}
