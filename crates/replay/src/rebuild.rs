//! Rebuilding arguments and results from a record and its tensors.
//!
//! A record names positional arguments `arg_<i>`, keyword arguments `kwarg_<name>`, a single result `result`
//! and the items of a tuple `result_<i>`. Tensors at the top are only in the file; tensors inside containers
//! are found by the `tensor_key` of their description.

use std::collections::{BTreeMap, HashMap, HashSet};

use callbox_core::{
    Arguments, CallRecord, DType, LoadedTensor, MetaValue, OwnedValue, TensorBuf, TensorMap, TensorMeta,
    Value,
};
use thiserror::Error;

/// Why a recorded call cannot be put together again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebuildError {
    /// The record names a tensor that its file does not hold.
    #[error("the record names a tensor `{0}` that its file does not hold")]
    MissingTensor(String),
    /// The tensor is there without elements.
    #[error("tensor `{key}` has no elements: {reason}")]
    NoElements {
        /// Key of the tensor.
        key: String,
        /// Why there are none.
        reason: String,
    },
    /// The numbers of the positional arguments, or of a tuple's items, have a gap.
    #[error("`{prefix}{missing}` was not recorded, `{prefix}{highest}` was")]
    Gap {
        /// `arg_` or `result_`.
        prefix: &'static str,
        /// The first missing number.
        missing: u64,
        /// The highest recorded number.
        highest: u64,
    },
    /// A key is none that a recorder writes.
    #[error("`{0}` is no key of an argument or a result")]
    Key(String),
    /// Two arguments share a key, and the file holds only the later one.
    #[error("two arguments were recorded under the key `{0}`, and only the later one was kept")]
    SharedKey(String),
    /// An argument is recorded both as a tensor and as a value.
    #[error("`{0}` is recorded as a tensor and as a value")]
    TwoKinds(String),
    /// A value says that it is a dtype, and there is none of its name.
    #[error("`{key}` holds the dtype `{name}`, and there is none of that name")]
    DType {
        /// Key of the argument or result.
        key: String,
        /// What the record calls the dtype.
        name: String,
    },
    /// A container was nested too deeply for the recorder.
    #[error("`{key}` holds a {class} of {length} items that was nested too deeply to be recorded")]
    Truncated {
        /// Key of the argument or result.
        key: String,
        /// Name of the container's class.
        class: String,
        /// Items that it had.
        length: usize,
    },
}

/// Rebuilds the arguments. A method's object, recorded as `arg_0`, is left out.
pub(crate) fn arguments(record: &CallRecord, tensors: &TensorMap) -> Result<Arguments, RebuildError> {
    check_shared_keys(record, tensors)?;
    let mut numbered = BTreeMap::new();
    let (mut keyword, mut names) = (Vec::new(), HashSet::new());
    let files = File { tensors, details: details(record) };
    for (key, value) in top_level(&record.input_metadata, &record.tensor_info.input_keys, &files)? {
        match (number(&key, "arg_"), key.strip_prefix("kwarg_")) {
            (Some(place), _) => {
                if numbered.insert(place, value).is_some() {
                    return Err(RebuildError::TwoKinds(key));
                }
            }
            (None, Some(name)) if !name.is_empty() => {
                if !names.insert(name.to_owned()) {
                    return Err(RebuildError::TwoKinds(key));
                }
                keyword.push((name.to_owned(), value));
            }
            (None, Some(_) | None) => return Err(RebuildError::Key(key)),
        }
    }
    let mut positional = dense(numbered, "arg_")?;
    if has_object(record) {
        positional.remove(0);
    }
    Ok(Arguments { positional, keyword })
}

/// Finds an argument by its recorded key: `arg_2`, `kwarg_out`.
pub(crate) fn argument<'a>(
    record: &CallRecord,
    arguments: &'a Arguments,
    key: &str,
) -> Option<&'a OwnedValue> {
    if let Some(rest) = key.strip_prefix("kwarg_") {
        // A name may itself hold the separator.
        return arguments.keyword.iter().find_map(|(name, value)| {
            let path = rest.strip_prefix(name.as_str())?;
            if path.is_empty() { Some(value) } else { item(value, path.strip_prefix("__")?) }
        });
    }
    let (top, path) = key.split_once("__").map_or((key, None), |(top, path)| (top, Some(path)));
    let place = usize::try_from(number(top, "arg_")?).ok()?;
    let value = arguments.positional.get(place.checked_sub(usize::from(has_object(record)))?)?;
    path.map_or(Some(value), |path| item(value, path))
}

/// Follows a path into containers: `0__value_2` is entry 2 of item 0.
fn item<'a>(value: &'a OwnedValue, path: &str) -> Option<&'a OwnedValue> {
    let (step, rest) = path.split_once("__").map_or((path, None), |(step, rest)| (step, Some(rest)));
    let place = |prefix| usize::try_from(number(step, prefix)?).ok();
    let found = match value {
        Value::List(items) | Value::Tuple { items, .. } => items.get(place("")?)?,
        Value::Map(entries) => match (place("key_"), place("value_")) {
            (Some(place), _) => &entries.get(place)?.0,
            (None, Some(place)) => &entries.get(place)?.1,
            (None, None) => return None,
        },
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::DType(_)
        | Value::Enum { .. }
        | Value::Tensor(_)
        | Value::Truncated { .. }
        | Value::Opaque { .. } => return None,
    };
    rest.map_or(Some(found), |rest| item(found, rest))
}

/// Tells whether `arg_0` is the object whose method was called.
fn has_object(record: &CallRecord) -> bool {
    let first = record.input_metadata.iter().find(|(key, _)| key == "arg_0");
    record.self_id.is_some() && matches!(first, Some((_, Value::Opaque { .. })))
}

/// Rebuilds the result: one value, or a tuple of the numbered ones.
pub(crate) fn result(record: &CallRecord, tensors: &TensorMap) -> Result<OwnedValue, RebuildError> {
    let mut numbered = BTreeMap::new();
    let files = File { tensors, details: details(record) };
    for (key, value) in top_level(&record.output_metadata, &record.tensor_info.output_keys, &files)? {
        if key == "result" {
            return Ok(value);
        }
        match number(&key, "result_") {
            Some(place) => {
                if numbered.insert(place, value).is_some() {
                    return Err(RebuildError::TwoKinds(key));
                }
            }
            None => return Err(RebuildError::Key(key)),
        }
    }
    Ok(Value::tuple(dense(numbered, "result_")?))
}

/// A file's tensors, and what the record says of each.
struct File<'a> {
    tensors: &'a TensorMap,
    details: HashMap<&'a str, &'a TensorMeta>,
}

fn details(record: &CallRecord) -> HashMap<&str, &TensorMeta> {
    record.tensor_details.iter().map(|(key, meta)| (key.as_str(), meta)).collect()
}

/// Rebuilds every top-level value: first those that the record describes, then the tensors.
fn top_level(
    metadata: &[(String, MetaValue)],
    tensor_keys: &[String],
    file: &File<'_>,
) -> Result<Vec<(String, OwnedValue)>, RebuildError> {
    let nested = nested_keys(metadata);
    let mut values = Vec::new();
    for (key, value) in metadata {
        refuse_incomplete(key, value)?;
        let loaded = value.try_map(&mut |tensor| whole(&tensor.key, file))?;
        values.push((key.clone(), loaded));
    }
    for key in tensor_keys.iter().filter(|key| !nested.contains(key.as_str())) {
        values.push((key.clone(), Value::Tensor(whole(key, file)?)));
    }
    Ok(values)
}

fn nested_keys(metadata: &[(String, MetaValue)]) -> HashSet<&str> {
    let mut keys = HashSet::new();
    for (_, value) in metadata {
        value.for_each_tensor(&mut |tensor| {
            keys.insert(tensor.key.as_str());
        });
    }
    keys
}

/// Returns a tensor with the strides that it was recorded with.
///
/// A safetensors file holds contiguous copies. For most functions that is all the same, but some look at the
/// strides: FlashInfer quantises a column-major matrix along its columns.
fn whole(key: &str, file: &File<'_>) -> Result<TensorBuf, RebuildError> {
    match file.tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => {
            let recorded = file.details.get(key).filter(|_| tensor.layout().is_contiguous());
            let relaid = recorded.and_then(|meta| tensor.relaid(&meta.strides));
            Ok(relaid.unwrap_or_else(|| tensor.clone()))
        }
        Some(LoadedTensor::WithoutElements { reason, .. }) => {
            Err(RebuildError::NoElements { key: key.to_owned(), reason: reason.clone() })
        }
        None => Err(RebuildError::MissingTensor(key.to_owned())),
    }
}

/// Keys are built without escaping, so item 0 of an argument `a` and an argument `a__0` share one, and the
/// later tensor replaces the earlier one in the file. The recorded size still counts both.
fn check_shared_keys(record: &CallRecord, tensors: &TensorMap) -> Result<(), RebuildError> {
    let mut seen = HashSet::new();
    if let Some(twice) = record.tensor_info.input_keys.iter().find(|key| !seen.insert(key.as_str())) {
        return Err(RebuildError::SharedKey(twice.clone()));
    }
    let nested = nested_keys(&record.input_metadata);
    let Some(suspect) = nested.iter().find(|key| key.starts_with("kwarg_")) else {
        return Ok(());
    };
    let mut kept = 0u64;
    for (_, tensor) in tensors.iter() {
        let LoadedTensor::Whole(tensor) = tensor else {
            return Ok(());
        };
        kept = kept.saturating_add((tensor.numel() as u64).saturating_mul(tensor.dtype().item_size() as u64));
    }
    if kept < record.tensor_info.input_bytes {
        return Err(RebuildError::SharedKey((*suspect).to_owned()));
    }
    Ok(())
}

/// Refuses what the recorder left out, and names of dtypes that are none: nothing of such a name is looked up.
fn refuse_incomplete(key: &str, value: &MetaValue) -> Result<(), RebuildError> {
    let mut error = None;
    value.for_each(&mut |value| match value {
        Value::Truncated { class, length } => {
            let (key, class) = (key.to_owned(), class.clone());
            error.get_or_insert(RebuildError::Truncated { key, class, length: *length });
        }
        Value::DType(name) if DType::from_torch_name(name).is_none() => {
            error.get_or_insert(RebuildError::DType { key: key.to_owned(), name: name.clone() });
        }
        _ => {}
    });
    error.map_or(Ok(()), Err)
}

/// Reads the number behind a prefix, spelled as a recorder spells it: no sign, no leading zeros.
fn number(key: &str, prefix: &str) -> Option<u64> {
    let digits = key.strip_prefix(prefix)?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && decimal).then(|| digits.parse().ok())?
}

/// Puts numbered values in a row; a gap is an error, so a huge number costs nothing.
fn dense(numbered: BTreeMap<u64, OwnedValue>, prefix: &'static str) -> Result<Vec<OwnedValue>, RebuildError> {
    let highest = numbered.keys().next_back().copied().unwrap_or_default();
    let gap = (0..).zip(numbered.keys()).find(|(expected, number)| expected != *number);
    if let Some((missing, _)) = gap {
        return Err(RebuildError::Gap { prefix, missing, highest });
    }
    Ok(numbered.into_values().collect())
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, Int, MetaTensor};

    use super::*;
    use callbox_testkit::sample;

    fn described(key: &str) -> MetaValue {
        let meta = TensorMeta {
            shape: vec![2],
            strides: vec![1],
            dtype: "torch.float32".to_owned(),
            device: "cpu".to_owned(),
        };
        Value::Tensor(Box::new(MetaTensor { meta, requires_grad: false, key: key.to_owned() }))
    }

    fn file(keys: &[&str]) -> TensorMap {
        let mut tensors = TensorMap::default();
        for key in keys {
            let tensor = TensorBuf::from_f32(DType::Float32, &[2], &[1.0, 2.0]).unwrap();
            tensors.insert((*key).to_owned(), LoadedTensor::Whole(tensor));
        }
        tensors
    }

    fn record(metadata: Vec<(&str, MetaValue)>, keys: &[&str]) -> CallRecord {
        let mut record = sample::record("m", "f");
        record.input_metadata = metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        record.output_metadata = record.input_metadata.clone();
        record.tensor_info.input_keys = keys.iter().map(|&k| k.to_owned()).collect();
        record.tensor_info.output_keys = record.tensor_info.input_keys.clone();
        record
    }

    fn types(values: &[OwnedValue]) -> Vec<&str> {
        values.iter().map(Value::type_name).collect()
    }

    #[test]
    fn tensors_and_values_come_back_in_the_order_of_the_call() {
        let record =
            record(vec![("arg_1", Value::int(3)), ("kwarg_eps", Value::Float(0.5))], &["arg_0", "kwarg_out"]);
        let arguments = arguments(&record, &file(&["arg_0", "kwarg_out"])).unwrap();
        assert_eq!(types(&arguments.positional), ["Tensor", "int"]);
        let names: Vec<_> = arguments.keyword.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["eps", "out"]);
    }

    #[test]
    fn a_tensor_inside_a_container_is_no_argument_of_its_own() {
        let pair = Value::tuple(vec![described("arg_0__0"), described("arg_0__1")]);
        let record = record(vec![("arg_0", pair)], &["arg_0__0", "arg_0__1"]);
        let arguments = arguments(&record, &file(&["arg_0__0", "arg_0__1"])).unwrap();
        assert_eq!(types(&arguments.positional), ["tuple"]);
    }

    #[test]
    fn a_contiguous_copy_gets_its_recorded_strides_back() {
        let mut record = record(Vec::new(), &["arg_0"]);
        let meta = TensorMeta {
            shape: vec![2, 3],
            strides: vec![1, 2],
            dtype: "torch.float32".to_owned(),
            device: "cpu".to_owned(),
        };
        record.tensor_details = vec![("arg_0".to_owned(), meta)];
        let mut file = TensorMap::default();
        let values = [0., 1., 2., 3., 4., 5.];
        let copy = TensorBuf::from_f32(DType::Float32, &[2, 3], &values).unwrap();
        file.insert("arg_0".to_owned(), LoadedTensor::Whole(copy));
        let arguments = arguments(&record, &file).unwrap();
        let Value::Tensor(tensor) = &arguments.positional[0] else { panic!("no tensor") };
        assert_eq!(tensor.layout().strides(), [1, 2]);
        assert_eq!(tensor.to_f32().unwrap(), values);
    }

    #[test]
    fn u45_a_keyword_keeps_what_looks_like_a_prefix_in_its_name() {
        let record = record(Vec::new(), &["kwarg_kwarg_x", "kwarg_arg_0", "kwarg_a__b"]);
        let arguments = arguments(&record, &file(&["kwarg_kwarg_x", "kwarg_arg_0", "kwarg_a__b"])).unwrap();
        let names: Vec<_> = arguments.keyword.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["kwarg_x", "arg_0", "a__b"]);
    }

    #[test]
    fn a_method_s_object_is_left_out() {
        let object = Value::Opaque { class: "Wrapper".to_owned(), repr: "<Wrapper>".into() };
        let mut record = record(vec![("arg_0", object), ("arg_1", Value::int(1))], &[]);
        record.self_id = Some(7);
        assert_eq!(types(&arguments(&record, &TensorMap::default()).unwrap().positional), ["int"]);
    }

    #[test]
    fn an_argument_is_found_by_its_key_in_containers_too() {
        let mut record = record(Vec::new(), &[]);
        let map = Value::Map(vec![(Value::text("k"), Value::int(3))]);
        let arguments = Arguments {
            positional: vec![Value::int(0), Value::List(vec![Value::int(1), map])],
            keyword: vec![("a__b".to_owned(), Value::tuple(vec![Value::int(2)]))],
        };
        let found = |record: &CallRecord, key| match argument(record, &arguments, key) {
            Some(Value::Int(Int::Small(value))) => Some(*value),
            Some(_) | None => None,
        };
        for (key, expected) in [
            ("arg_0", Some(0)),
            ("arg_1__0", Some(1)),
            ("arg_1__1__value_0", Some(3)),
            ("kwarg_a__b__0", Some(2)),
            ("kwarg_a", None),
            ("arg_1__7", None),
            ("arg_9", None),
        ] {
            assert_eq!(found(&record, key), expected, "{key}");
        }
        record.self_id = Some(1);
        record.input_metadata =
            vec![("arg_0".to_owned(), Value::Opaque { class: "W".into(), repr: "w".into() })];
        assert_eq!(found(&record, "arg_1"), Some(0));
    }

    #[test]
    fn u55_keys_that_no_recorder_writes_are_refused() {
        for (key, expected) in [
            ("arg_1000000000", "`arg_0` was not recorded, `arg_1000000000` was"),
            ("arg_-1", "`arg_-1` is no key of an argument or a result"),
            ("arg_01", "`arg_01` is no key of an argument or a result"),
            ("arg_x", "`arg_x` is no key of an argument or a result"),
            ("kwarg_", "`kwarg_` is no key of an argument or a result"),
            ("arg_99999999999999999999", "`arg_99999999999999999999` is no key of an argument or a result"),
        ] {
            let record = record(vec![(key, Value::None)], &[]);
            assert_eq!(arguments(&record, &TensorMap::default()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn u61_a_dtype_is_one_that_there_is_and_never_looked_up() {
        let check = |value| arguments(&record(vec![("arg_0", value)], &[]), &TensorMap::default());
        assert!(check(Value::DType("torch.float8_e4m3fn".to_owned())).is_ok());
        for name in ["torch.load", "torch.hub.load", "os.system", ""] {
            let expected = RebuildError::DType { key: "arg_0".to_owned(), name: name.to_owned() };
            assert_eq!(check(Value::List(vec![Value::DType(name.to_owned())])).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_argument_is_a_tensor_or_a_value() {
        for key in ["arg_0", "kwarg_x"] {
            let twice = record(vec![(key, Value::int(1))], &[key]);
            let error = arguments(&twice, &file(&[key])).unwrap_err();
            assert_eq!(error, RebuildError::TwoKinds(key.to_owned()));
        }
        let twice = record(vec![("result_0", Value::int(1))], &["result_0"]);
        assert!(matches!(result(&twice, &file(&["result_0"])), Err(RebuildError::TwoKinds(_))));
    }

    #[test]
    fn u46_an_enumeration_a_size_and_a_named_tuple_are_rebuilt_as_what_they_were() {
        let size = Value::Tuple { class: Some("Size".to_owned()), items: vec![Value::int(2)] };
        let member = Value::Enum { name: "Layout.NHD".to_owned(), value: Box::new(Value::int(0)) };
        let record = record(vec![("arg_0", size), ("arg_1", member)], &[]);
        let positional = arguments(&record, &TensorMap::default()).unwrap().positional;
        assert!(matches!(&positional[0], Value::Tuple { class: Some(class), .. } if class == "Size"));
        assert!(matches!(&positional[1], Value::Enum { name, .. } if name == "Layout.NHD"));
    }

    #[test]
    fn u45_two_arguments_under_one_key_are_found_out() {
        let mut record =
            record(vec![("kwarg_a", Value::List(vec![described("kwarg_a__0")]))], &["kwarg_a__0"]);
        record.tensor_info.input_bytes = 16;
        let error = arguments(&record, &file(&["kwarg_a__0"])).unwrap_err();
        assert_eq!(error, RebuildError::SharedKey("kwarg_a__0".to_owned()));
    }

    #[test]
    fn a_missing_tensor_and_a_cut_container_are_named() {
        let missing = record(Vec::new(), &["arg_0"]);
        let error = arguments(&missing, &TensorMap::default()).unwrap_err();
        assert_eq!(error, RebuildError::MissingTensor("arg_0".to_owned()));

        let cut = Value::List(vec![Value::Truncated { class: "list".to_owned(), length: 3 }]);
        let error = arguments(&record(vec![("arg_0", cut)], &[]), &TensorMap::default()).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
    }

    #[test]
    fn results_are_one_value_or_a_tuple() {
        let single = record(vec![("result", Value::None)], &[]);
        assert!(matches!(result(&single, &TensorMap::default()), Ok(Value::None)));

        let pair = record(vec![("result_1", Value::int(1))], &["result_0"]);
        let rebuilt = result(&pair, &file(&["result_0"])).unwrap();
        assert!(matches!(rebuilt, Value::Tuple { class: None, items } if items.len() == 2));

        let nothing = record(Vec::new(), &[]);
        assert!(
            matches!(result(&nothing, &TensorMap::default()), Ok(Value::Tuple { items, .. }) if items.is_empty())
        );
    }
}
