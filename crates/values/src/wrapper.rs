//! Types that stand for what they hold: references, pointers, options.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use callbox_core::{LiveValue, OwnedValue, Value};

use crate::from_value::{FromValue, FromValueError};
use crate::to_value::ToValue;

macro_rules! pointers {
    ($($pointer:ty),+) => { $(
        impl<T: ToValue + ?Sized> ToValue for $pointer {
            fn to_value(&self) -> LiveValue<'_> {
                T::to_value(self)
            }
        }
    )+ };
}

pointers!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

macro_rules! owning_pointers {
    ($($pointer:ident),+) => { $(
        impl<T: FromValue> FromValue for $pointer<T> {
            fn from_value(value: OwnedValue) -> Result<$pointer<T>, FromValueError> {
                T::from_value(value).map($pointer::new)
            }
        }

        impl FromValue for $pointer<str> {
            fn from_value(value: OwnedValue) -> Result<$pointer<str>, FromValueError> {
                String::from_value(value).map($pointer::from)
            }
        }

        impl<T: FromValue> FromValue for $pointer<[T]> {
            fn from_value(value: OwnedValue) -> Result<$pointer<[T]>, FromValueError> {
                Vec::from_value(value).map($pointer::from)
            }
        }
    )+ };
}

owning_pointers!(Box, Rc, Arc);

impl<T: ToValue + ToOwned + ?Sized> ToValue for Cow<'_, T> {
    fn to_value(&self) -> LiveValue<'_> {
        T::to_value(self)
    }
}

impl<T: ToOwned<Owned: FromValue> + ?Sized> FromValue for Cow<'_, T> {
    fn from_value(value: OwnedValue) -> Result<Self, FromValueError> {
        T::Owned::from_value(value).map(Cow::Owned)
    }
}

/// `None` is Python's `None`; so an option of an option, or of `()`, comes back as `None` where it was
/// `Some(None)`.
impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> LiveValue<'_> {
        self.as_ref().map_or(Value::None, T::to_value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: OwnedValue) -> Result<Option<T>, FromValueError> {
        match value {
            Value::None => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}
