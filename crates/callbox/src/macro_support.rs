//! What the attribute `record` expands to. Not for use by hand: it changes with the macro.

use std::any::type_name;
use std::fmt::{Debug, Display};

pub use callbox_core::{
    ArgumentPlace, Arguments, Callsite, Contract, ExecError, FunctionName, LiveArguments, LiveResult,
    LiveValue, OwnedValue, PendingCall, RecordedError, Value,
};
pub use callbox_registry::{Recorded, Registry, ReplayClass, Replayable, put, returned_value, take};
pub use callbox_values::{ObjectId, Returned, ToValue};

use callbox_values::recorded_error;

pub use crate::global::{begin, enabled};

/// Tells the compiler that a closure is called once: it may give away what it holds.
#[inline(always)]
pub fn body<R, F: FnOnce() -> R>(body: F) -> F {
    body
}

/// Begins the arguments of a method whose object has no [`ObjectId`]: only its address tells it from others.
pub fn of_address<'v, T: ?Sized>(class: &str, object: &T) -> LiveArguments<'v> {
    of_text(class, format!("<{class} object at {:p}>", &raw const *object))
}

/// Begins the arguments of a constructor whose object will have no [`ObjectId`].
pub fn of_unborn<'v>(class: &str) -> LiveArguments<'v> {
    of_text(class, format!("<{class} object>"))
}

fn of_text<'v>(class: &str, repr: String) -> LiveArguments<'v> {
    let object = Value::Opaque { class: class.to_owned(), repr: repr.into() };
    LiveArguments { positional: vec![object], keyword: Vec::new(), self_id: None }
}

/// Returns the value of a result that is behind its `Result`.
pub fn described<T: ToValue + ?Sized>(result: &T) -> LiveValue<'_> {
    result.to_value()
}

/// Stands for a result that is no value.
pub fn not_recorded<'v, T: ?Sized>(_result: &T) -> LiveValue<'v> {
    Value::Opaque { class: type_name::<T>().to_owned(), repr: "<not recorded>".into() }
}

/// Stands for what a constructor returns.
pub fn constructed<'v, T: ?Sized>(_object: &T) -> LiveValue<'v> {
    Value::None
}

/// Describes an error by its text.
pub fn error_display<E: Display>(error: &E) -> RecordedError {
    recorded_error::<E>(error.to_string())
}

/// Describes an error by its `{:?}` text.
pub fn error_debug<E: Debug>(error: &E) -> RecordedError {
    recorded_error::<E>(format!("{error:?}"))
}

/// Describes an error that has no text.
pub fn error_opaque<E>(_error: &E) -> RecordedError {
    recorded_error::<E>("<not recorded>".to_owned())
}
