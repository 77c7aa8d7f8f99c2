//! From recorded arguments to a function's own, and back.

use callbox_core::{ArgumentPlace, Arguments, ExecError, LiveValue, OwnedValue, RecordedError};
use callbox_values::{FromValue, Returned, ToValue, to_owned_value};

/// A parameter of a function, and where a record has its argument.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// The parameter's name, for messages.
    pub name: &'static str,
    /// Where the argument is; a method's object does not count.
    pub place: ArgumentPlace,
}

impl Recorded {
    fn find<'a>(&self, arguments: &'a mut Arguments) -> Result<&'a mut OwnedValue, ExecError> {
        let found = match self.place {
            ArgumentPlace::Positional(position) => arguments.positional.get_mut(position),
            ArgumentPlace::Keyword(name) => {
                arguments.keyword.iter_mut().find_map(|(known, value)| (known == name).then_some(value))
            }
        };
        found.ok_or_else(|| ExecError::MissingArgument(self.name.to_owned()))
    }
}

/// Makes an argument of what was recorded.
pub fn take<T: FromValue>(arguments: &mut Arguments, parameter: Recorded) -> Result<T, ExecError> {
    let value = parameter.find(arguments)?.clone();
    T::from_value(value)
        .map_err(|error| ExecError::Argument { argument: parameter.name.to_owned(), source: Box::new(error) })
}

/// Puts an argument back that the function wrote into.
pub fn put<T: ToValue>(arguments: &mut Arguments, parameter: Recorded, value: &T) -> Result<(), ExecError> {
    let written = to_owned_value(&value.to_value()).map_err(|error| ExecError::Argument {
        argument: parameter.name.to_owned(),
        source: Box::new(error),
    })?;
    *parameter.find(arguments)? = written;
    Ok(())
}

/// Makes a replay's result of what a function returned; its own error is an error of the call.
pub fn result<T: Returned + ?Sized>(returned: &T) -> Result<OwnedValue, ExecError> {
    returned_value(returned.returned())
}

/// Does what [`result`] does with what is known of the result already.
pub fn returned_value(returned: Result<LiveValue<'_>, RecordedError>) -> Result<OwnedValue, ExecError> {
    match returned {
        Ok(value) => to_owned_value(&value).map_err(|error| ExecError::Device(Box::new(error))),
        Err(RecordedError { text, .. }) => Err(ExecError::Returned(text)),
    }
}
