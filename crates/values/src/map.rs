//! Maps: dictionaries.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use callbox_core::{Int, LiveValue, OwnedValue, Value};

use crate::from_value::{FromValue, FromValueError};
use crate::to_value::ToValue;

impl<K: ToValue, V: ToValue> ToValue for BTreeMap<K, V> {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Map(self.iter().map(|(key, value)| (key.to_value(), value.to_value())).collect())
    }
}

/// Recorded in the order of its keys, so that equal maps give equal records and a tensor in one the same key in
/// every run: numbers by size, texts by their characters. Keys that have no order come as the map has them.
impl<K: ToValue, V: ToValue, S: BuildHasher> ToValue for HashMap<K, V, S> {
    fn to_value(&self) -> LiveValue<'_> {
        let mut entries: Vec<_> =
            self.iter().map(|(key, value)| (key.to_value(), value.to_value())).collect();
        entries.sort_by(|(left, _), (right, _)| in_key_order(left, right));
        Value::Map(entries)
    }
}

impl<K: FromValue + Ord, V: FromValue> FromValue for BTreeMap<K, V> {
    fn from_value(value: OwnedValue) -> Result<BTreeMap<K, V>, FromValueError> {
        entries(value)
    }
}

impl<K: FromValue + Eq + Hash, V: FromValue, S: BuildHasher + Default> FromValue for HashMap<K, V, S> {
    fn from_value(value: OwnedValue) -> Result<HashMap<K, V, S>, FromValueError> {
        entries(value)
    }
}

fn entries<K: FromValue, V: FromValue, C: FromIterator<(K, V)>>(
    value: OwnedValue,
) -> Result<C, FromValueError> {
    let Value::Map(entries) = value else {
        return Err(FromValueError::kind("a dict", &value));
    };
    let convert = |(place, (key, value))| {
        let inside = |part| move |error: FromValueError| error.inside(format!("{part} {place}"));
        Ok((K::from_value(key).map_err(inside("key"))?, V::from_value(value).map_err(inside("value"))?))
    };
    entries.into_iter().enumerate().map(convert).collect()
}

/// Compares values that can be keys: kind by kind, numbers by size, texts by code points, containers item by
/// item. Values of other kinds count as equal among themselves, so this is a total preorder.
pub(crate) fn in_key_order(left: &LiveValue<'_>, right: &LiveValue<'_>) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => compare_ints(left, right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::DType(left), Value::DType(right)) => left.cmp(right),
        (Value::Enum { name: left, .. }, Value::Enum { name: right, .. }) => left.cmp(right),
        (Value::List(left), Value::List(right)) => compare_items(left, right),
        (Value::Tuple { items: left, .. }, Value::Tuple { items: right, .. }) => compare_items(left, right),
        (
            Value::Opaque { class: left, repr: left_text },
            Value::Opaque { class: right, repr: right_text },
        ) => left.cmp(right).then_with(|| left_text.cmp(right_text)),
        (_, _) => rank(left).cmp(&rank(right)),
    }
}

fn compare_items(left: &[LiveValue<'_>], right: &[LiveValue<'_>]) -> Ordering {
    let unequal = left.iter().zip(right).map(|(left, right)| in_key_order(left, right)).find(|o| o.is_ne());
    unequal.unwrap_or_else(|| left.len().cmp(&right.len()))
}

fn compare_ints(left: &Int, right: &Int) -> Ordering {
    if let (Int::Small(left), Int::Small(right)) = (left, right) {
        return left.cmp(right);
    }
    // The longer number is the larger one, and the smaller one below zero.
    let magnitude = |int: &Int| {
        let digits = int.to_string();
        let digits = digits.trim_start_matches('-');
        (digits.len(), digits.to_owned())
    };
    let negative = |int: &Int| int.to_string().starts_with('-');
    match (negative(left), negative(right)) {
        (false, false) => magnitude(left).cmp(&magnitude(right)),
        (true, true) => magnitude(right).cmp(&magnitude(left)),
        (left, right) => right.cmp(&left),
    }
}

fn rank(value: &LiveValue<'_>) -> u8 {
    match value {
        Value::None => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => 2,
        Value::Float(_) => 3,
        Value::Text(_) => 4,
        Value::DType(_) => 5,
        Value::Enum { .. } => 6,
        Value::Tuple { .. } => 7,
        Value::List(_) => 8,
        Value::Map(_) => 9,
        Value::Opaque { .. } => 10,
        Value::Truncated { .. } => 11,
        Value::Tensor(_) => 12,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_maps_give_equal_records() {
        let names = ["w", "b", "scale", "a", "zero"];
        let forwards: HashMap<_, _> = names.iter().copied().zip(0..).collect();
        let backwards: HashMap<_, _> =
            names.iter().copied().zip(0..).collect::<Vec<_>>().into_iter().rev().collect();
        let sorted: BTreeMap<_, _> = names.iter().copied().zip(0..).collect();
        for map in [forwards, backwards] {
            assert_eq!(format!("{:?}", map.to_value()), format!("{:?}", sorted.to_value()));
        }
    }

    #[test]
    fn the_wrong_part_of_an_entry_is_named() {
        let recorded = || Value::Map(vec![(Value::text("k"), Value::None)]);
        let error = BTreeMap::<u8, ()>::from_value(recorded()).unwrap_err();
        assert_eq!(
            callbox_core::error::chain(&error),
            "key 0: expected an integer, found a value of type str"
        );
        let error = BTreeMap::<String, u8>::from_value(recorded()).unwrap_err();
        assert_eq!(error.to_string(), "value 0");
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_rust_orders_them(left: (i128, String), right: (i128, String)) {
            prop_assert_eq!(in_key_order(&left.to_value(), &right.to_value()), left.cmp(&right));
        }
    }
}
