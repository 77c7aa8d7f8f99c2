//! Values, as Python shows them.

use std::iter;

use callbox_core::python::{push_float, push_text};
use callbox_core::{LiveValue, Text, Value};

use super::event::append;
use super::tensor::push_tensor;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Tensors are shown with their statistics.
    pub(super) statistics: bool,
}

/// Appends a value with its indentation; an item of a container stands behind its label with an indentation of its
/// own, as in FlashInfer's log.
pub(super) fn push_value(out: &mut String, value: &LiveValue<'_>, indent: usize, style: Style) {
    push_indent(out, indent);
    match value {
        Value::Tensor(tensor) => push_tensor(out, tensor, indent, style),
        Value::List(items) => push_items(out, items, ["[", "]"], indent, style),
        Value::Tuple { class: _, items } => push_items(out, items, ["(", ")"], indent, style),
        Value::Map(entries) => push_entries(out, entries, indent, style),
        Value::Enum { name, value } => {
            out.push_str(name);
            out.push_str(" (value=");
            match &**value {
                Value::Text(text) => out.push_str(&text.to_string_lossy()),
                value => push_repr(out, value),
            }
            out.push(')');
        }
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::DType(_)
        | Value::Truncated { .. }
        | Value::Opaque { .. } => push_repr(out, value),
    }
}

fn push_items(
    out: &mut String,
    items: &[LiveValue<'_>],
    [open, close]: [&str; 2],
    indent: usize,
    style: Style,
) {
    out.push_str(open);
    for (place, item) in items.iter().enumerate() {
        out.push('\n');
        push_indent(out, indent + 2);
        append(out, format_args!("[{place}]: "));
        push_value(out, item, indent + 2, style);
    }
    push_close(out, items.is_empty(), close, indent);
}

fn push_entries(out: &mut String, entries: &[(LiveValue<'_>, LiveValue<'_>)], indent: usize, style: Style) {
    out.push('{');
    for (key, value) in entries {
        out.push('\n');
        push_indent(out, indent + 2);
        push_repr(out, key);
        out.push_str(": ");
        push_value(out, value, indent + 2, style);
    }
    push_close(out, entries.is_empty(), "}", indent);
}

fn push_close(out: &mut String, is_empty: bool, close: &str, indent: usize) {
    if !is_empty {
        out.push('\n');
        push_indent(out, indent);
    }
    out.push_str(close);
}

/// Appends a value on one line, as Python's `repr` shows it.
fn push_repr(out: &mut String, value: &LiveValue<'_>) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(value) => append(out, format_args!("{value}")),
        Value::Float(value) => push_float(out, *value),
        Value::Text(text) => push_text(out, text),
        Value::DType(name) => out.push_str(name),
        Value::Enum { name, value } => {
            append(out, format_args!("<{name}: "));
            push_repr(out, value);
            out.push('>');
        }
        Value::Tensor(tensor) => append(out, format_args!("<tensor {}>", tensor.dtype)),
        Value::List(items) => push_all(out, items, ["[", "]"]),
        Value::Tuple { class: _, items } if items.len() == 1 => push_all(out, items, ["(", ",)"]),
        Value::Tuple { class: _, items } => push_all(out, items, ["(", ")"]),
        Value::Map(entries) => {
            out.push('{');
            for (place, (key, value)) in entries.iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                push_repr(out, key);
                out.push_str(": ");
                push_repr(out, value);
            }
            out.push('}');
        }
        Value::Truncated { class, length } => append(out, format_args!("<{class} of {length} items>")),
        Value::Opaque { class, repr } if class == "device" => push_device(out, repr),
        Value::Opaque { class: _, repr } => out.push_str(&repr.to_string_lossy()),
    }
}

fn push_all(out: &mut String, items: &[LiveValue<'_>], [open, close]: [&str; 2]) {
    out.push_str(open);
    for (place, item) in items.iter().enumerate() {
        out.push_str(if place > 0 { ", " } else { "" });
        push_repr(out, item);
    }
    out.push_str(close);
}

/// Appends a device, which records have by its `str`, by its `repr`.
fn push_device(out: &mut String, text: &Text) {
    let text = text.to_string_lossy();
    match text.split_once(':') {
        Some((kind, index)) => append(out, format_args!("device(type='{kind}', index={index})")),
        None => append(out, format_args!("device(type='{text}')")),
    }
}

pub(super) fn push_indent(out: &mut String, indent: usize) {
    out.extend(iter::repeat_n(' ', indent));
}
