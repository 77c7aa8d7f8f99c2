//! Arguments and results that are not tensors, as a record spells them.

use callbox_core::{Int, MetaTensor, MetaValue, TensorMeta, Value};

use super::{object, string};
use crate::json::{Dialect, Entries, push_array, push_bool, push_float, push_int, push_text, push_unsigned};

/// Writes a value: numbers, strings and None as they are, everything else as an object with a `type`.
pub(super) fn push_value(out: &mut String, value: &MetaValue) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => push_bool(out, *value),
        Value::Int(Int::Small(value)) => push_int(out, *value),
        Value::Int(Int::Big(digits)) => out.push_str(digits),
        Value::Float(value) => push_float(out, *value, Dialect::Python),
        Value::Text(text) => push_text(out, text, Dialect::Python),
        Value::DType(name) => object(out, |fields| {
            string(fields.key("type"), "torch.dtype");
            string(fields.key("value"), name);
        }),
        Value::Enum { name, value } => object(out, |fields| {
            string(fields.key("type"), "enum");
            string(fields.key("name"), name);
            push_raw(fields.key("value"), value);
        }),
        Value::Tensor(tensor) => push_tensor(out, tensor),
        Value::List(items) => push_container(out, "list", items, push_value),
        Value::Tuple { class, items } => {
            push_container(out, class.as_deref().unwrap_or("tuple"), items, push_value);
        }
        Value::Map(entries) => push_container(out, "dict", entries, |out, (key, value)| {
            object(out, |fields| {
                push_value(fields.key("key"), key);
                push_value(fields.key("value"), value);
            });
        }),
        Value::Truncated { class, length } => object(out, |fields| {
            string(fields.key("type"), class);
            push_unsigned(fields.key("length"), *length as u64);
            push_bool(fields.key("truncated"), true);
        }),
        Value::Opaque { class, repr } => object(out, |fields| {
            string(fields.key("type"), class);
            push_text(fields.key("repr"), repr, Dialect::Python);
        }),
    }
}

/// Writes what a record says of a tensor, in tensor_details and among the values.
pub(super) fn push_meta(fields: &mut Entries<'_>, tensor: &TensorMeta) {
    let sizes = |out: &mut String, sizes: &[usize]| {
        push_array(out, sizes, |out, size| push_unsigned(out, *size as u64))
    };
    sizes(fields.key("shape"), &tensor.shape);
    string(fields.key("dtype"), &tensor.dtype);
    sizes(fields.key("stride"), &tensor.strides);
    string(fields.key("device"), &tensor.device);
}

fn push_tensor(out: &mut String, tensor: &MetaTensor) {
    object(out, |fields| {
        string(fields.key("type"), "torch.Tensor");
        push_meta(fields, &tensor.meta);
        push_bool(fields.key("requires_grad"), tensor.requires_grad);
        push_bool(fields.key("is_contiguous"), tensor.meta.is_contiguous());
        string(fields.key("tensor_key"), &tensor.key);
    });
}

fn push_container<T>(out: &mut String, class: &str, items: &[T], write: impl FnMut(&mut String, &T)) {
    object(out, |fields| {
        string(fields.key("type"), class);
        push_unsigned(fields.key("length"), items.len() as u64);
        push_array(fields.key("items"), items, write);
        push_bool(fields.key("truncated"), false);
    });
}

/// Writes what an enumeration's member stands for, which is JSON without types: a list is an array, a dictionary
/// an object.
///
/// FlashInfer loses the call where JSON cannot hold it. We write it as any other value: it reads back as a
/// dictionary with a `type`, beside the member's name.
fn push_raw(out: &mut String, value: &MetaValue) {
    match value {
        Value::List(items) | Value::Tuple { items, .. } => push_array(out, items, push_raw),
        Value::Map(entries) if entries.iter().all(|(key, _)| matches!(key, Value::Text(_))) => {
            object(out, |fields| {
                for (key, value) in entries {
                    if let Value::Text(key) = key {
                        push_raw(fields.text_key(key), value);
                    }
                }
            });
        }
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::DType(_)
        | Value::Enum { .. }
        | Value::Tensor(_)
        | Value::Map(_)
        | Value::Truncated { .. }
        | Value::Opaque { .. } => push_value(out, value),
    }
}
