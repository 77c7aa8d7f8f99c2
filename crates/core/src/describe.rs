//! From the values of a running call to what a record says of them and the tensors that go to a file.

use std::collections::HashSet;

use crate::live::{LiveArguments, LiveResult};
use crate::record::CallRecord;
use crate::tensor::{TensorMeta, TensorView};
use crate::value::{LiveValue, MetaTensor, MetaValue, Value};

/// Containers nested more deeply are cut, so that every reader's limit holds.
///
/// FlashInfer cuts at 8 and loses the tensors below; readers of its files take any depth.
pub(crate) const MAX_DEPTH: usize = 32;

/// Values under the keys that records and files name them by.
#[derive(Debug, Default)]
pub(crate) struct Described<'a> {
    /// Values that are not tensors, by key.
    pub(crate) metadata: Vec<(String, MetaValue)>,
    /// Tensors by key, in recording order.
    pub(crate) tensors: Vec<(String, TensorView<'a>)>,
    /// Keys of the values themselves, without what is nested in them.
    pub(crate) arguments: Vec<String>,
    /// Keys of tensors that are in use.
    keys: HashSet<String>,
}

impl<'a> Described<'a> {
    /// Describes arguments: `arg_<i>` by position, `kwarg_<name>` by name.
    pub(crate) fn arguments(arguments: &LiveArguments<'a>) -> Described<'a> {
        let positional = arguments.positional.iter().enumerate();
        let positional = positional.map(|(position, value)| (format!("arg_{position}"), value));
        let keyword = arguments.keyword.iter().map(|(name, value)| (format!("kwarg_{name}"), value));
        Described::of(positional.chain(keyword).collect(), &[])
    }

    /// Describes a result: `result`, or `result_<i>` for the items of a tuple.
    pub(crate) fn result(result: &LiveResult<'a>) -> Described<'a> {
        match &result.value {
            Value::Tuple { items, .. } => {
                let items = items.iter().enumerate();
                Described::of(items.map(|(place, item)| (format!("result_{place}"), item)).collect(), &[])
            }
            value => Described::of(vec![("result".to_owned(), value)], &[]),
        }
    }

    /// Describes the arguments that a call wrote into, under the keys that they had before it; `arguments` are the
    /// keys of all its arguments.
    pub(crate) fn written(result: &LiveResult<'a>, arguments: &[String]) -> Described<'a> {
        let written = result.written.iter().map(|(place, value)| (place.to_string(), value));
        Described::of(written.collect(), arguments)
    }

    /// `taken` are keys that no nested tensor may have, beside those of the values.
    fn of(values: Vec<(String, &LiveValue<'a>)>, taken: &[String]) -> Described<'a> {
        // A nested tensor may never take the key of an argument: `arg_0__1` may be both.
        let arguments: Vec<_> = values.iter().map(|(key, _)| key.clone()).collect();
        let keys = arguments.iter().chain(taken).cloned().collect();
        let mut described = Described { arguments, keys, ..Described::default() };
        for (key, value) in values {
            match value {
                Value::Tensor(tensor) => described.tensors.push((key, tensor.clone())),
                value => {
                    let meta = described.meta(value, &key, 0);
                    described.metadata.push((key, meta));
                }
            }
        }
        described
    }

    fn meta(&mut self, value: &LiveValue<'a>, key: &str, depth: usize) -> MetaValue {
        match value {
            Value::None => Value::None,
            Value::Bool(value) => Value::Bool(*value),
            Value::Int(value) => Value::Int(value.clone()),
            Value::Float(value) => Value::Float(*value),
            Value::Text(value) => Value::Text(value.clone()),
            Value::DType(value) => Value::DType(value.clone()),
            Value::Enum { name, value: _ } if depth >= MAX_DEPTH => truncated(name, 1),
            Value::Enum { name, value } => {
                Value::Enum { name: name.clone(), value: Box::new(self.meta(value, key, depth + 1)) }
            }
            Value::Tensor(tensor) => {
                let key = self.unused(key);
                let meta = MetaTensor::of(tensor, key.clone());
                self.tensors.push((key, tensor.clone()));
                Value::Tensor(Box::new(meta))
            }
            Value::List(items) if depth >= MAX_DEPTH => truncated("list", items.len()),
            Value::List(items) => Value::List(self.items(items, key, depth)),
            Value::Tuple { class, items } if depth >= MAX_DEPTH => {
                truncated(class.as_deref().unwrap_or("tuple"), items.len())
            }
            Value::Tuple { class, items } => {
                Value::Tuple { class: class.clone(), items: self.items(items, key, depth) }
            }
            Value::Map(entries) if depth >= MAX_DEPTH => truncated("dict", entries.len()),
            Value::Map(entries) => Value::Map(
                (0..)
                    .zip(entries)
                    .map(|(place, (name, value)): (usize, _)| {
                        let name = self.meta(name, &format!("{key}__key_{place}"), depth + 1);
                        (name, self.meta(value, &format!("{key}__value_{place}"), depth + 1))
                    })
                    .collect(),
            ),
            Value::Truncated { class, length } => truncated(class, *length),
            Value::Opaque { class, repr } => Value::Opaque { class: class.clone(), repr: repr.clone() },
        }
    }

    fn items(&mut self, items: &[LiveValue<'a>], key: &str, depth: usize) -> Vec<MetaValue> {
        // Numbers need no key, and long lists are lists of numbers.
        items
            .iter()
            .enumerate()
            .map(|(place, item)| match item {
                Value::Int(value) => Value::Int(value.clone()),
                Value::Float(value) => Value::Float(*value),
                item => self.meta(item, &format!("{key}__{place}"), depth + 1),
            })
            .collect()
    }

    /// Takes a key for a nested tensor; a key that is in use gets a number.
    fn unused(&mut self, key: &str) -> String {
        let numbered = (2..).map(|number: usize| format!("{key}__{number}"));
        let key = std::iter::once(key.to_owned()).chain(numbered).find(|key| !self.keys.contains(key));
        let key = key.expect("there are more numbers than keys");
        self.keys.insert(key.clone());
        key
    }

    /// Returns the keys of the tensors, in recording order.
    pub(crate) fn tensor_keys(&self) -> Vec<String> {
        self.tensors.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Returns the bytes of the tensors' elements.
    pub(crate) fn element_bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, (_, tensor)| sum.saturating_add(tensor.byte_len()))
    }

    /// Describes each tensor by its key.
    pub(crate) fn tensor_details(&self) -> impl Iterator<Item = (String, TensorMeta)> {
        self.tensors.iter().map(|(key, tensor)| (key.clone(), tensor.to_meta()))
    }

    /// Tells whether a tensor's memory may not be read, because a CUDA graph is being captured.
    pub(crate) fn is_capturing(&self) -> bool {
        self.tensors.iter().any(|(_, tensor)| tensor.storage.bytes.is_capturing())
    }
}

/// Writes a call's results into its record.
pub(crate) fn add_outputs(record: &mut CallRecord, outputs: &Described<'_>, written: &Described<'_>) {
    record.output_metadata.clone_from(&outputs.metadata);
    record.tensor_info.output_keys = outputs.tensor_keys();
    record.tensor_info.output_bytes = Some(outputs.element_bytes());
    record.tensor_info.args_after_keys = written.tensor_keys();
    record.tensor_details.extend(outputs.tensor_details());
}

fn truncated(class: &str, length: usize) -> MetaValue {
    Value::Truncated { class: class.to_owned(), length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::layout::Layout;

    fn tensor(bytes: &[u8]) -> LiveValue<'_> {
        let layout = Layout::contiguous(&[bytes.len()]).unwrap();
        Value::Tensor(TensorView::new(DType::UInt8, layout, bytes).unwrap())
    }

    #[test]
    fn keys_follow_position_name_and_nesting() {
        let bytes = [1, 2];
        let map = Value::Map(vec![(Value::text("k"), Value::List(vec![Value::int(3), tensor(&bytes)]))]);
        let described = Described::arguments(&LiveArguments {
            positional: vec![tensor(&bytes), Value::Float(0.5), map],
            keyword: vec![("out", tensor(&bytes))],
            self_id: None,
        });
        assert_eq!(described.tensor_keys(), ["arg_0", "arg_2__value_0__1", "kwarg_out"]);
        assert_eq!(described.metadata.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["arg_1", "arg_2"]);
        assert_eq!(described.element_bytes(), 6);
    }

    #[test]
    fn a_nested_tensor_never_takes_the_key_of_an_argument() {
        let bytes = [1];
        let described = Described::arguments(&LiveArguments {
            positional: Vec::new(),
            keyword: vec![("a", Value::List(vec![tensor(&bytes)])), ("a__0", tensor(&bytes))],
            self_id: None,
        });
        assert_eq!(described.tensor_keys(), ["kwarg_a__0__2", "kwarg_a__0"]);
        let (_, Value::List(items)) = &described.metadata[0] else { panic!("a list") };
        assert!(matches!(&items[0], Value::Tensor(tensor) if tensor.key == "kwarg_a__0__2"));
    }

    #[test]
    fn an_after_image_has_the_key_that_its_tensor_had_before() {
        let bytes = [1];
        let before = Described::arguments(&LiveArguments {
            positional: Vec::new(),
            keyword: vec![("a", Value::List(vec![tensor(&bytes)])), ("a__0", tensor(&bytes))],
            self_id: None,
        });
        let written = vec![(crate::live::ArgumentPlace::Keyword("a"), Value::List(vec![tensor(&bytes)]))];
        let result = LiveResult { value: Value::None, written };
        assert_eq!(Described::written(&result, &before.arguments).tensor_keys(), ["kwarg_a__0__2"]);
    }

    #[test]
    fn a_tuple_gives_a_result_for_each_item_and_anything_else_one() {
        let bytes = [1];
        let pair = Value::tuple(vec![tensor(&bytes), Value::int(7)]).into();
        let described = Described::result(&pair);
        assert_eq!(described.tensor_keys(), ["result_0"]);
        assert_eq!(described.metadata, [("result_1".to_owned(), Value::int(7))]);
        assert_eq!(Described::result(&Value::None.into()).metadata, [("result".to_owned(), Value::None)]);
        assert_eq!(Described::result(&tensor(&bytes).into()).tensor_keys(), ["result"]);
    }

    #[test]
    fn what_is_nested_too_deeply_is_cut_and_says_so() {
        let mut value: LiveValue<'_> = Value::int(1);
        for _ in 0..MAX_DEPTH + 1 {
            value = Value::List(vec![value]);
        }
        let described = Described::result(&value.into());
        let mut inner = &described.metadata[0].1;
        while let Value::List(items) = inner {
            inner = &items[0];
        }
        assert_eq!(*inner, Value::Truncated { class: "list".to_owned(), length: 1 });
    }
}
