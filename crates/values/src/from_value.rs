//! The way back: from a value of a dump to the argument of a Rust function.

use callbox_core::elements::ElementError;
use callbox_core::error::Cause;
use callbox_core::{DType, OwnedValue};
use thiserror::Error;

/// Takes a value from a dump, for a replay.
///
/// Implemented for what [`ToValue`](crate::ToValue) is implemented for, borrowed types apart.
///
/// ```
/// use callbox_values::{FromValue, OwnedValue, Value};
///
/// let recorded: OwnedValue = Value::List(vec![Value::int(1), Value::int(300)]);
/// assert_eq!(Vec::<u16>::from_value(recorded.clone())?, [1, 300]);
///
/// let error = Vec::<u8>::from_value(recorded).unwrap_err();
/// assert_eq!(callbox_core::error::chain(&error), "item 1: 300 does not fit into u8");
/// # Ok::<(), callbox_values::FromValueError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from a dump",
    label = "does not implement `FromValue`",
    note = "implement `callbox::FromValue` for it (for a type of your own around it, where it is another crate's)"
)]
pub trait FromValue: Sized {
    /// Converts the value, or says what was expected and what was found.
    fn from_value(value: OwnedValue) -> Result<Self, FromValueError>;
}

/// Why a value is not of the wanted type. Messages follow the name of the argument.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FromValueError {
    /// Another kind of value.
    #[error("expected {expected}, found a value of type {found}")]
    Kind {
        /// What would do: `an integer`.
        expected: &'static str,
        /// The value's type, as Python would name it.
        found: String,
    },
    /// A number that the type cannot hold.
    #[error("{value} does not fit into {wanted}")]
    OutOfRange {
        /// The number.
        value: String,
        /// The type's name.
        wanted: &'static str,
    },
    /// Another number of items.
    #[error("expected {expected} items, found {found}")]
    Length {
        /// Items that the type has.
        expected: usize,
        /// Items that there are.
        found: usize,
    },
    /// A text that stands for nothing of the type.
    #[error("`{text}` is no {wanted}")]
    Text {
        /// What it should stand for: `device`.
        wanted: &'static str,
        /// The text.
        text: String,
    },
    /// A tensor of another element type.
    #[error("expected a tensor of {expected}, found one of {found}")]
    Dtype {
        /// The wanted one.
        expected: DType,
        /// The tensor's own.
        found: DType,
    },
    /// A tensor of another number of dimensions.
    #[error("expected a tensor of {expected} dimensions, found one of shape {shape:?}")]
    Rank {
        /// The wanted number.
        expected: usize,
        /// Sizes of the tensor in elements.
        shape: Vec<usize>,
    },
    /// A tensor whose stored bytes are no elements of its dtype: a bool that is neither 0 nor 1.
    #[error("the tensor's bytes are no elements of {0}")]
    Bits(DType),
    /// A tensor whose elements cannot be copied out.
    #[error("the tensor cannot be copied")]
    Elements(#[source] ElementError),
    /// The tensor library refuses the value.
    #[error("the tensor library refuses it")]
    Library(#[source] Cause),
    /// An item of a container is wrong.
    #[error("{place}")]
    Inside {
        /// Which: `item 2`, `key 0`, `value 0`.
        place: String,
        /// What is wrong with it.
        #[source]
        source: Box<FromValueError>,
    },
}

impl FromValueError {
    /// Says that another kind of value was expected: `an integer`, `a dict`.
    pub fn kind(expected: &'static str, found: &OwnedValue) -> FromValueError {
        FromValueError::Kind { expected, found: found.type_name().to_owned() }
    }

    /// Says where in a container the error is: `item 2`.
    #[must_use]
    pub fn inside(self, place: String) -> FromValueError {
        FromValueError::Inside { place, source: Box::new(self) }
    }
}
