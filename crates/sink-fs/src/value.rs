//! Arguments and results that are not tensors, as a record spells them.

use callbox_core::{MetaTensor, MetaValue, TensorMeta, Value};

use crate::fields::{Fields, RecordError};
use crate::json::Json;

/// Reads a value.
///
/// Numbers, strings and None stand for themselves; everything else is an object with a `type`. An object of a
/// form that we do not know is kept as an opaque value with its JSON as text: a newer recorder may know more
/// kinds of values, and only a replay needs to understand them.
pub(crate) fn read_value(json: &Json) -> Result<MetaValue, RecordError> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(value) => Value::Int(value.clone()),
        Json::Float(value) => Value::Float(*value),
        Json::Text(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(read_all(items, read_value)?),
        Json::Object(_) => read_object(json)?,
    })
}

/// Reads what a record says of a tensor.
pub(crate) fn read_tensor(fields: Fields<'_>) -> Result<TensorMeta, RecordError> {
    Ok(TensorMeta {
        shape: fields.sizes("shape")?,
        strides: fields.sizes("stride")?,
        dtype: fields.required_string("dtype")?,
        device: fields.string("device")?.unwrap_or_else(|| "cpu".to_owned()),
    })
}

fn read_all<T>(items: &[Json], read: fn(&Json) -> Result<T, RecordError>) -> Result<Vec<T>, RecordError> {
    // Not collected: a vector of unknown length doubles, and for a moment is there twice.
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        values.push(read(item)?);
    }
    Ok(values)
}

fn read_object(json: &Json) -> Result<MetaValue, RecordError> {
    let fields = Fields::of(json, "value")?;
    let Some(Json::Text(class)) = fields.any("type") else {
        return Ok(opaque("object", json));
    };
    let class = class.to_string();
    if let Some(repr) = fields.text("repr")? {
        return Ok(Value::Opaque { class, repr: repr.clone() });
    }
    if let Some(length) = fields.unsigned("length")? {
        return read_container(class, length, fields);
    }
    match class.as_str() {
        "torch.Tensor" => Ok(Value::Tensor(Box::new(MetaTensor {
            meta: read_tensor(fields)?,
            requires_grad: fields.bool("requires_grad")?.unwrap_or_default(),
            key: fields.required_string("tensor_key")?,
        }))),
        "torch.dtype" => Ok(Value::DType(fields.required_string("value")?)),
        "enum" => Ok(Value::Enum {
            name: fields.required_string("name")?,
            value: Box::new(fields.any("value").map_or(Value::None, read_raw)),
        }),
        _ => Ok(opaque(&class, json)),
    }
}

/// Reads a list, tuple or dict, or a subclass of list or tuple by its class's name.
fn read_container(class: String, length: u64, fields: Fields<'_>) -> Result<MetaValue, RecordError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(items) = fields.array("items")?.filter(|items| items.len() == length) else {
        return Ok(Value::Truncated { class, length });
    };
    Ok(match class.as_str() {
        "dict" => Value::Map(read_all(items, read_entry)?),
        "list" => Value::List(read_all(items, read_value)?),
        "tuple" => Value::tuple(read_all(items, read_value)?),
        _ => Value::Tuple { class: Some(class), items: read_all(items, read_value)? },
    })
}

fn read_entry(item: &Json) -> Result<(MetaValue, MetaValue), RecordError> {
    let entry = Fields::of(item, "items")?;
    let part = |name| entry.any(name).map_or(Ok(Value::None), read_value);
    Ok((part("key")?, part("value")?))
}

/// Reads what an enumeration's member stands for: JSON as it is, so an object is a dict and nothing else.
fn read_raw(json: &Json) -> MetaValue {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Int(value) => Value::Int(value.clone()),
        Json::Float(value) => Value::Float(*value),
        Json::Text(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(read_raw).collect()),
        Json::Object(entries) => Value::Map(
            entries.iter().map(|(key, value)| (Value::Text(key.clone()), read_raw(value))).collect(),
        ),
    }
}

fn opaque(class: &str, json: &Json) -> MetaValue {
    Value::Opaque { class: class.to_owned(), repr: json.to_strict_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn read(text: &str) -> Result<MetaValue, RecordError> {
        read_value(&json::parse(text.as_bytes()).unwrap())
    }

    fn check(text: &str, expected: MetaValue) {
        assert_eq!(read(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn scalars_stand_for_themselves() {
        check("null", Value::None);
        check("true", Value::Bool(true));
        check("-7", Value::int(-7));
        check("-Infinity", Value::Float(f64::NEG_INFINITY));
        check("\"NHD\"", Value::text("NHD"));
    }

    #[test]
    fn u46_containers_come_back_as_what_they_were() {
        let items = || vec![Value::int(1), Value::int(2)];
        check(r#"{"type": "list", "length": 2, "items": [1, 2], "truncated": false}"#, Value::List(items()));
        check(
            r#"{"type": "tuple", "length": 2, "items": [1, 2], "truncated": false}"#,
            Value::tuple(items()),
        );
        for class in ["Size", "Point"] {
            check(
                &format!(r#"{{"type": "{class}", "length": 2, "items": [1, 2], "truncated": false}}"#),
                Value::Tuple { class: Some(class.to_owned()), items: items() },
            );
        }
        check(
            r#"{"type": "dict", "length": 2, "items": [{"key": "a", "value": null}, {"key": 3, "value": 4}]}"#,
            Value::Map(vec![(Value::text("a"), Value::None), (Value::int(3), Value::int(4))]),
        );
    }

    #[test]
    fn a_container_without_all_its_items_is_truncated() {
        let truncated = |class: &str, length| Value::Truncated { class: class.to_owned(), length };
        check(r#"{"type": "dict", "length": 1, "truncated": true}"#, truncated("dict", 1));
        check(r#"{"type": "list", "length": 3, "items": [1, 2], "truncated": true}"#, truncated("list", 3));
        check(
            r#"{"type": "list", "length": 18446744073709551615, "items": []}"#,
            truncated("list", usize::MAX),
        );
    }

    #[test]
    fn tensors_dtypes_and_enumerations_are_named_never_looked_up() {
        check(
            r#"{"type": "torch.Tensor", "shape": [8, 2], "dtype": "torch.float16", "stride": [2, 1],
                "device": "cuda:0", "requires_grad": true, "is_contiguous": true, "tensor_key": "arg_2__0"}"#,
            Value::Tensor(Box::new(MetaTensor {
                meta: TensorMeta {
                    shape: vec![8, 2],
                    strides: vec![2, 1],
                    dtype: "torch.float16".to_owned(),
                    device: "cuda:0".to_owned(),
                },
                requires_grad: true,
                key: "arg_2__0".to_owned(),
            })),
        );
        check(r#"{"type": "torch.dtype", "value": "torch.load"}"#, Value::DType("torch.load".to_owned()));
        check(
            r#"{"type": "enum", "name": "Flg.X|Y", "value": 3}"#,
            Value::Enum { name: "Flg.X|Y".to_owned(), value: Box::new(Value::int(3)) },
        );
        check(
            r#"{"type": "enum", "name": "os.PathLike", "value": {"type": "torch.dtype", "value": [1]}}"#,
            Value::Enum {
                name: "os.PathLike".to_owned(),
                value: Box::new(Value::Map(vec![
                    (Value::text("type"), Value::text("torch.dtype")),
                    (Value::text("value"), Value::List(vec![Value::int(1)])),
                ])),
            },
        );
        assert!(read(r#"{"type": "torch.Tensor", "shape": [-1], "dtype": "x", "tensor_key": "k"}"#).is_err());
        assert!(read(r#"{"type": "torch.Tensor", "shape": [1], "dtype": "torch.int8"}"#).is_err());
    }

    #[test]
    fn anything_else_keeps_its_text() {
        let opaque =
            |class: &str, repr: &str| Value::Opaque { class: class.to_owned(), repr: repr.to_owned().into() };
        check(r#"{"type": "complex", "repr": "(1+2j)"}"#, opaque("complex", "(1+2j)"));
        check(
            r#"{"type": "quaternion", "w": NaN}"#,
            opaque("quaternion", r#"{"type": "quaternion", "w": "NaN"}"#),
        );
        check("{}", opaque("object", "{}"));
    }
}
