//! Tuples, and nothing.

use callbox_core::{LiveValue, OwnedValue, Value};

use crate::from_value::{FromValue, FromValueError};
use crate::sequence::{exactly, item, items};
use crate::to_value::ToValue;

/// A function that returns nothing returns `None` in Python.
impl ToValue for () {
    fn to_value(&self) -> LiveValue<'_> {
        Value::None
    }
}

impl FromValue for () {
    fn from_value(value: OwnedValue) -> Result<(), FromValueError> {
        match value {
            Value::None => Ok(()),
            other => Err(FromValueError::kind("None", &other)),
        }
    }
}

macro_rules! tuples {
    ($($($place:tt $item:ident $variable:ident),+;)+) => { $(
        impl<$($item: ToValue),+> ToValue for ($($item,)+) {
            fn to_value(&self) -> LiveValue<'_> {
                Value::tuple(vec![$(self.$place.to_value()),+])
            }
        }

        impl<$($item: FromValue),+> FromValue for ($($item,)+) {
            fn from_value(value: OwnedValue) -> Result<Self, FromValueError> {
                let [$($variable),+] = exactly(items(value, "a tuple")?)?;
                Ok(($(item($place, $variable)?,)+))
            }
        }
    )+ };
}

tuples! {
    0 A a;
    0 A a, 1 B b;
    0 A a, 1 B b, 2 C c;
    0 A a, 1 B b, 2 C c, 3 D d;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h, 8 I i;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h, 8 I i, 9 J j;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h, 8 I i, 9 J j, 10 K k;
    0 A a, 1 B b, 2 C c, 3 D d, 4 E e, 5 F f, 6 G g, 7 H h, 8 I i, 9 J j, 10 K k, 11 L l;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_item_of_a_tuple_is_named() {
        let recorded = || Value::tuple(vec![Value::int(1), Value::text("x")]);
        assert_eq!(<(u8, String)>::from_value(recorded()).unwrap(), (1, "x".to_owned()));
        let error = <(u8, u8)>::from_value(recorded()).unwrap_err();
        let text = callbox_core::error::chain(&error);
        assert_eq!(text, "item 1: expected an integer, found a value of type str");
        let error = <(u8,)>::from_value(recorded()).unwrap_err();
        assert_eq!(error.to_string(), "expected 1 items, found 2");
    }

    #[test]
    fn twelve_items_are_a_tuple_still() {
        let value = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12u64).to_value();
        assert!(matches!(value, Value::Tuple { class: None, items } if items.len() == 12));
    }
}
