//! What a call gave back: a result, or an error.

use std::any::type_name;
use std::fmt;

use callbox_core::{LiveValue, RecordedError};

use crate::to_value::ToValue;

/// Tells a call's result from its error.
///
/// Implemented for whatever is recordable, and for a `Result` of it: an `Err` is recorded as a failed call, with
/// the name of the error's type and its `Display` text. A `Result` itself is no value: [`ToValue`] is not
/// implemented for it, so that no error passes for a result.
///
/// ```
/// use callbox_values::{Returned, Value};
///
/// let parsed = "12".parse::<u8>();
/// assert!(matches!(parsed.returned(), Ok(Value::Int(_))));
///
/// let failed = "dozen".parse::<u8>();
/// assert_eq!(failed.returned().unwrap_err().text, "invalid digit found in string");
/// ```
#[diagnostic::on_unimplemented(
    message = "what this function returns, `{Self}`, cannot be recorded",
    label = "neither recordable nor a `Result` of a recordable value and a printable error",
    note = "implement `callbox::ToValue` for the value and `Display` for the error, or use the options `skip_result` and `errors(debug)`"
)]
pub trait Returned {
    /// Returns the result as the recorder takes it, or what it says of the error.
    fn returned(&self) -> Result<LiveValue<'_>, RecordedError>;
}

impl<T: ToValue> Returned for T {
    fn returned(&self) -> Result<LiveValue<'_>, RecordedError> {
        Ok(self.to_value())
    }
}

impl<T: ToValue, E: fmt::Display> Returned for Result<T, E> {
    fn returned(&self) -> Result<LiveValue<'_>, RecordedError> {
        self.as_ref().map(T::to_value).map_err(|error| recorded_error::<E>(error.to_string()))
    }
}

/// Describes an error by its type and a text of it.
///
/// ```
/// let error = callbox_values::recorded_error::<std::fmt::Error>("no room".to_owned());
/// assert_eq!((error.kind.as_str(), error.type_name.as_str()), ("error", "core::fmt::Error"));
/// ```
pub fn recorded_error<E: ?Sized>(text: String) -> RecordedError {
    RecordedError { kind: "error".to_owned(), type_name: type_name::<E>().to_owned(), text }
}

#[cfg(test)]
mod tests {
    use callbox_core::Value;

    use super::*;

    #[test]
    fn an_error_is_named_by_its_type_and_its_text() {
        let failed: Result<(), std::fmt::Error> = Err(std::fmt::Error);
        let error = failed.returned().unwrap_err();
        assert_eq!((error.kind.as_str(), error.type_name.as_str()), ("error", "core::fmt::Error"));
        assert_eq!(error.text, std::fmt::Error.to_string());
    }

    #[test]
    fn a_result_of_nothing_is_none() {
        let fine: Result<(), String> = Ok(());
        assert!(matches!(fine.returned(), Ok(Value::None)));
        assert!(matches!(().returned(), Ok(Value::None)));
    }
}
