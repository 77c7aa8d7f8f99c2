//! Comparing what a replay returned with what was recorded.
//!
//! `tolerance` says how far apart floats may be, `tensor` compares two tensors; this file walks the two trees
//! of values.

mod tensor;
mod tolerance;

use callbox_core::{Contract, DType, OwnedValue, ResultRule, TensorBuf, Value};

pub use tensor::{TensorComparison, Unit, Worst};
pub use tolerance::{CompareOptions, Tolerance};

/// The result of comparing a whole result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Every pair of tensors of equal shape and dtype.
    pub tensors: Vec<TensorComparison>,
    /// Everything else that differs: types, lengths, shapes, dtypes, scalars.
    pub differences: Vec<Difference>,
    /// Number of values that were compared, tensors and others.
    pub compared: usize,
}

/// A difference that is not one of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which result: `result`, `result_1`, `result[0]`.
    pub place: String,
    /// What was recorded.
    pub expected: String,
    /// What the replay gave.
    pub actual: String,
}

impl Comparison {
    /// Tells whether nothing differs. That is no pass yet: see [`Comparison::compared`].
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.tensors.iter().all(TensorComparison::agrees)
    }

    /// Adds another comparison of the same call.
    pub(crate) fn merge(&mut self, other: Comparison) {
        self.tensors.extend(other.tensors);
        self.differences.extend(other.differences);
        self.compared += other.compared;
    }

    fn differ(&mut self, place: &str, expected: impl Into<String>, actual: impl Into<String>) {
        let (expected, actual) = (expected.into(), actual.into());
        self.differences.push(Difference { place: place.to_owned(), expected, actual });
    }
}

/// Compares a result with the recorded one.
pub fn compare(
    expected: &OwnedValue,
    actual: &OwnedValue,
    contract: &Contract,
    options: &CompareOptions,
) -> Comparison {
    let mut walk = Walk { comparison: Comparison::default(), options };
    // A result that is a named tuple is recorded item by item, as a plain one is: its class is lost.
    if let (Value::Tuple { class: None, items: left }, Value::Tuple { class: _, items: right }) =
        (expected, actual)
        && left.len() == right.len()
    {
        walk.comparison.compared += usize::from(left.is_empty());
        for (position, (left, right)) in left.iter().zip(right).enumerate() {
            walk.value(&format!("result_{position}"), left, right, contract.rule(position));
        }
    } else {
        walk.value("result", expected, actual, contract.rule(0));
    }
    walk.comparison
}

/// Compares the after-images of written arguments: keys with the recorded and the replayed tensor.
pub(crate) fn compare_written(
    pairs: &[(&str, &TensorBuf, &TensorBuf)],
    options: &CompareOptions,
) -> Comparison {
    let mut walk = Walk { comparison: Comparison::default(), options };
    for (key, expected, actual) in pairs {
        walk.tensors(key, expected, actual, ResultRule::Values);
    }
    walk.comparison
}

struct Walk<'a> {
    comparison: Comparison,
    options: &'a CompareOptions,
}

impl Walk<'_> {
    fn value(&mut self, place: &str, expected: &OwnedValue, actual: &OwnedValue, rule: ResultRule) {
        match (expected, actual) {
            (Value::Tensor(expected), Value::Tensor(actual)) => self.tensors(place, expected, actual, rule),
            (Value::List(left), Value::List(right)) => self.items(place, left, right, rule),
            (
                Value::Tuple { class: left_class, items: left },
                Value::Tuple { class: right_class, items: right },
            ) if left_class == right_class => {
                self.items(place, left, right, rule);
            }
            (Value::Map(left), Value::Map(right)) => self.entries(place, left, right, rule),
            // Only their text was recorded, and that may hold an address.
            (Value::Opaque { .. } | Value::Truncated { .. }, _) => {}
            (
                Value::None
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Text(_)
                | Value::DType(_)
                | Value::Enum { .. }
                | Value::Tensor(_)
                | Value::List(_)
                | Value::Tuple { .. }
                | Value::Map(_),
                _,
            ) => {
                self.comparison.compared += 1;
                if !self.scalars_agree(expected, actual) {
                    self.comparison.differ(place, describe(expected), describe(actual));
                }
            }
        }
    }

    fn items(&mut self, place: &str, left: &[OwnedValue], right: &[OwnedValue], rule: ResultRule) {
        if left.len() != right.len() {
            let items = |items: &[OwnedValue]| format!("{} items", items.len());
            self.comparison.compared += 1;
            return self.comparison.differ(place, items(left), items(right));
        }
        self.comparison.compared += usize::from(left.is_empty());
        for (position, (left, right)) in left.iter().zip(right).enumerate() {
            self.value(&format!("{place}[{position}]"), left, right, rule);
        }
    }

    /// Dictionaries are compared in order, as they were recorded.
    fn entries(
        &mut self,
        place: &str,
        left: &[(OwnedValue, OwnedValue)],
        right: &[(OwnedValue, OwnedValue)],
        rule: ResultRule,
    ) {
        if left.len() != right.len() {
            let entries = |entries: &[(OwnedValue, OwnedValue)]| format!("{} entries", entries.len());
            self.comparison.compared += 1;
            return self.comparison.differ(place, entries(left), entries(right));
        }
        self.comparison.compared += usize::from(left.is_empty());
        for (position, (left, right)) in left.iter().zip(right).enumerate() {
            self.value(&format!("{place}.key[{position}]"), &left.0, &right.0, ResultRule::Values);
            self.value(&format!("{place}[{}]", describe(&left.0)), &left.1, &right.1, rule);
        }
    }

    fn tensors(&mut self, place: &str, expected: &TensorBuf, actual: &TensorBuf, rule: ResultRule) {
        self.comparison.compared += 1;
        if (expected.dtype(), expected.shape()) != (actual.dtype(), actual.shape()) {
            let describe = |tensor: &TensorBuf| format!("{} {:?}", tensor.dtype().name(), tensor.shape());
            return self.comparison.differ(place, describe(expected), describe(actual));
        }
        match tensor::compare(place, expected, actual, rule, self.options) {
            Ok(comparison) => self.comparison.tensors.push(comparison),
            Err(error) => self.comparison.differ(place, "comparable elements", error.to_string()),
        }
    }

    fn scalars_agree(&self, expected: &OwnedValue, actual: &OwnedValue) -> bool {
        match (expected, actual) {
            (Value::None, Value::None) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Int(left), Value::Int(right)) => left == right,
            (Value::Text(left), Value::Text(right)) => left == right,
            (Value::DType(left), Value::DType(right)) => left == right,
            (Value::Enum { name: left, .. }, Value::Enum { name: right, .. }) => left == right,
            (Value::Float(left), Value::Float(right)) => self.floats_agree(*left, *right),
            (_, _) => false,
        }
    }

    fn floats_agree(&self, expected: f64, actual: f64) -> bool {
        if expected == actual || (self.options.equal_nan && expected.is_nan() && actual.is_nan()) {
            return true;
        }
        let tolerance = self.options.tolerance(ResultRule::Values, DType::Float32, expected.abs());
        expected.is_finite() && (actual - expected).abs() <= tolerance.atol + tolerance.rtol * expected.abs()
    }
}

/// Describes a value in a few words for a person.
pub(crate) fn describe(value: &OwnedValue) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => format!("{value:?}"),
        Value::DType(name) | Value::Enum { name, .. } => name.clone(),
        Value::Tensor(tensor) => format!("{} {:?}", tensor.dtype().name(), tensor.shape()),
        Value::List(items) | Value::Tuple { items, .. } => {
            format!("{} of {} items", value.type_name(), items.len())
        }
        Value::Map(entries) => format!("dict of {} entries", entries.len()),
        Value::Truncated { class, length } => format!("{class} of {length} items, not recorded"),
        Value::Opaque { class, .. } => class.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> OwnedValue {
        Value::Tensor(TensorBuf::from_f32(DType::Float32, &[values.len()], values).unwrap())
    }

    fn check(expected: &OwnedValue, actual: &OwnedValue) -> Comparison {
        compare(expected, actual, &Contract::default(), &CompareOptions::default())
    }

    #[test]
    fn none_against_none_is_one_compared_value() {
        let comparison = check(&Value::None, &Value::None);
        assert!(comparison.agrees() && comparison.compared == 1);
    }

    #[test]
    fn u41_values_beside_tensors_count() {
        let pair = |n| Value::tuple(vec![tensor(&[1.0]), Value::int(n)]);
        assert!(check(&pair(1), &pair(1)).agrees());
        let comparison = check(&pair(1), &pair(2));
        let expected = Difference { place: "result_1".into(), expected: "1".into(), actual: "2".into() };
        assert_eq!(comparison.differences, [expected]);
    }

    #[test]
    fn u42_a_list_of_tensors_agrees_with_itself_and_not_with_a_tuple() {
        let items = vec![tensor(&[1.0]), tensor(&[2.0])];
        assert!(check(&Value::List(items.clone()), &Value::List(items.clone())).agrees());
        assert!(!check(&Value::List(items.clone()), &Value::tuple(items)).agrees());
    }

    #[test]
    fn another_shape_or_dtype_is_told_before_any_element() {
        let comparison = check(&tensor(&[1.0, 2.0]), &tensor(&[1.0]));
        assert_eq!(comparison.differences[0].actual, "float32 [1]");
        assert!(comparison.tensors.is_empty());
    }

    #[test]
    fn an_object_known_by_its_text_alone_is_not_compared() {
        let object = Value::Opaque { class: "Thing".into(), repr: "<Thing at 0x1>".into() };
        assert_eq!(check(&object, &Value::None).compared, 0);
    }

    #[test]
    fn each_item_of_a_tuple_has_its_own_rule() {
        let contract = Contract { writes: &[], results: &[ResultRule::Values, ResultRule::LogSumExp] };
        let pair = |lse| Value::tuple(vec![tensor(&[1.0]), tensor(&[lse])]);
        let options = CompareOptions::default();
        assert!(compare(&pair(1.0), &pair(1.0009), &contract, &options).agrees());
        assert!(!compare(&pair(1.0), &pair(1.002), &contract, &options).agrees());
    }
}
