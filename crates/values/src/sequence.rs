//! Slices, arrays, vectors, queues and sets: lists.
//!
//! A `Vec<f32>` is a list of floats, as a Python list is, and not a tensor; see
//! [`tensor_of`](crate::tensor_of) for that.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

use callbox_core::{LiveValue, OwnedValue, Value};

use crate::from_value::{FromValue, FromValueError};
use crate::map::in_key_order;
use crate::to_value::ToValue;

fn list<'a, T: ToValue + 'a>(items: impl IntoIterator<Item = &'a T>) -> LiveValue<'a> {
    Value::List(items.into_iter().map(T::to_value).collect())
}

impl<T: ToValue> ToValue for [T] {
    fn to_value(&self) -> LiveValue<'_> {
        list(self)
    }
}

impl<T: ToValue, const N: usize> ToValue for [T; N] {
    fn to_value(&self) -> LiveValue<'_> {
        list(self)
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn to_value(&self) -> LiveValue<'_> {
        list(self)
    }
}

impl<T: ToValue> ToValue for VecDeque<T> {
    fn to_value(&self) -> LiveValue<'_> {
        list(self)
    }
}

impl<T: ToValue> ToValue for BTreeSet<T> {
    fn to_value(&self) -> LiveValue<'_> {
        list(self)
    }
}

/// Recorded in the order of its values, so that equal sets give equal records: numbers by size, texts by their
/// characters. Values that have no order, tensors for one, come as the set has them.
impl<T: ToValue, S: BuildHasher> ToValue for HashSet<T, S> {
    fn to_value(&self) -> LiveValue<'_> {
        let mut items: Vec<_> = self.iter().map(T::to_value).collect();
        items.sort_by(in_key_order);
        Value::List(items)
    }
}

/// Takes a tuple too.
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: OwnedValue) -> Result<Vec<T>, FromValueError> {
        items(value, "a list")?.into_iter().enumerate().map(|(place, value)| item(place, value)).collect()
    }
}

impl<T: FromValue, const N: usize> FromValue for [T; N] {
    fn from_value(value: OwnedValue) -> Result<[T; N], FromValueError> {
        exactly(Vec::from_value(value)?)
    }
}

impl<T: FromValue> FromValue for VecDeque<T> {
    fn from_value(value: OwnedValue) -> Result<VecDeque<T>, FromValueError> {
        Vec::from_value(value).map(VecDeque::from)
    }
}

impl<T: FromValue + Ord> FromValue for BTreeSet<T> {
    fn from_value(value: OwnedValue) -> Result<BTreeSet<T>, FromValueError> {
        Ok(Vec::from_value(value)?.into_iter().collect())
    }
}

impl<T: FromValue + Eq + Hash, S: BuildHasher + Default> FromValue for HashSet<T, S> {
    fn from_value(value: OwnedValue) -> Result<HashSet<T, S>, FromValueError> {
        Ok(Vec::from_value(value)?.into_iter().collect())
    }
}

/// Takes the items of a list or a tuple.
pub(crate) fn items(value: OwnedValue, expected: &'static str) -> Result<Vec<OwnedValue>, FromValueError> {
    match value {
        Value::List(items) | Value::Tuple { items, .. } => Ok(items),
        other => Err(FromValueError::kind(expected, &other)),
    }
}

pub(crate) fn item<T: FromValue>(place: usize, value: OwnedValue) -> Result<T, FromValueError> {
    T::from_value(value).map_err(|error| error.inside(format!("item {place}")))
}

pub(crate) fn exactly<T, const N: usize>(items: Vec<T>) -> Result<[T; N], FromValueError> {
    items.try_into().map_err(|items: Vec<T>| FromValueError::Length { expected: N, found: items.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_floats_is_a_list() {
        assert!(matches!(vec![1.0f32, 2.0].to_value(), Value::List(items) if items.len() == 2));
    }

    #[test]
    fn equal_sets_give_equal_records() {
        let shown = |order: &[i64]| format!("{:?}", order.iter().copied().collect::<HashSet<_>>().to_value());
        assert_eq!(shown(&[3, -1, 2]), shown(&[2, 3, -1]));
        assert_eq!(shown(&[3, -1, 2]), format!("{:?}", vec![-1, 2, 3].to_value()));
    }

    #[test]
    fn an_array_wants_its_own_number_of_items() {
        let error = <[u8; 3]>::from_value(Value::List(vec![Value::int(1)])).unwrap_err();
        assert_eq!(error.to_string(), "expected 3 items, found 1");
    }
}
