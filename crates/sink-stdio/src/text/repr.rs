//! Values on one line, as Python's `repr` spells them.

use callbox_core::python::{self, push_float, push_sizes};
use callbox_core::{LiveValue, Text, Value};

use super::{ELLIPSIS, MAX_DEPTH, append, push_text};

/// Appends a value: a dictionary's key, what an enumeration's member stands for.
pub(super) fn push_repr(out: &mut String, value: &LiveValue<'_>) {
    push_nested(out, value, 0);
}

/// Appends a value that lies in so many containers.
fn push_nested(out: &mut String, value: &LiveValue<'_>, depth: usize) {
    match value {
        Value::Enum { .. } | Value::List(_) | Value::Tuple { .. } | Value::Map(_) if depth >= MAX_DEPTH => {
            out.push_str(ELLIPSIS);
        }
        Value::None => out.push_str("None"),
        Value::Bool(value) => push_bool(out, *value),
        Value::Int(value) => append(out, format_args!("{value}")),
        Value::Float(value) => push_float(out, *value),
        Value::Text(text) => python::push_text(out, text),
        Value::DType(name) => out.push_str(name),
        Value::Enum { name, value } => {
            append(out, format_args!("<{name}: "));
            push_nested(out, value, depth + 1);
            out.push('>');
        }
        Value::Tensor(tensor) => {
            out.push_str("Tensor(shape=");
            push_sizes(out, tensor.layout.shape());
            append(out, format_args!(", dtype={}, device={})", tensor.dtype, tensor.device));
        }
        Value::List(items) => push_between(out, "[", items, "]", depth),
        Value::Tuple { class: Some(class), items } if class == "Size" => {
            push_between(out, "torch.Size([", items, "])", depth);
        }
        Value::Tuple { class, items } => {
            out.push_str(class.as_deref().unwrap_or_default());
            // Python tells a tuple of one item from an item in parentheses.
            let close = if items.len() == 1 && class.is_none() { ",)" } else { ")" };
            push_between(out, "(", items, close, depth);
        }
        Value::Map(entries) => {
            out.push('{');
            for (place, (key, value)) in entries.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                push_nested(out, key, depth + 1);
                out.push_str(": ");
                push_nested(out, value, depth + 1);
            }
            out.push('}');
        }
        Value::Truncated { class, length } => push_truncated(out, class, *length),
        Value::Opaque { class, repr } => push_opaque(out, class, repr),
    }
}

fn push_between(out: &mut String, open: &str, items: &[LiveValue<'_>], close: &str, depth: usize) {
    out.push_str(open);
    for (place, item) in items.iter().enumerate() {
        out.push_str(if place == 0 { "" } else { ", " });
        push_nested(out, item, depth + 1);
    }
    out.push_str(close);
}

pub(super) fn push_bool(out: &mut String, value: bool) {
    out.push_str(if value { "True" } else { "False" });
}

/// Appends what is known of a container whose items were not kept.
pub(super) fn push_truncated(out: &mut String, class: &str, length: usize) {
    append(out, format_args!("<{class} with {length} items>"));
}

/// Appends the text of an object. It is Python's `str`; of two classes it is known how their `repr` differs.
pub(super) fn push_opaque(out: &mut String, class: &str, text: &Text) {
    match class {
        "device" => push_device(out, &text.to_string_lossy()),
        "PosixPath" => {
            out.push_str("PosixPath(");
            python::push_text(out, text);
            out.push(')');
        }
        _ => push_text(out, text),
    }
}

fn push_device(out: &mut String, text: &str) {
    let index = text.split_once(':').and_then(|(kind, index)| Some((kind, index.parse::<u32>().ok()?)));
    let (kind, index) = index.map_or((text, None), |(kind, index)| (kind, Some(index)));
    out.push_str("device(type=");
    python::push_text(out, &Text::from(kind));
    if let Some(index) = index {
        append(out, format_args!(", index={index}"));
    }
    out.push(')');
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use callbox_core::{DType, Int, Layout, TensorView};

    use super::*;

    fn check(value: LiveValue<'_>, expected: &str) {
        let mut out = String::new();
        push_repr(&mut out, &value);
        assert_eq!(out, expected);
    }

    fn opaque<'a>(class: &str, text: &str) -> LiveValue<'a> {
        Value::Opaque { class: class.to_owned(), repr: text.into() }
    }

    fn member<'a>(name: &str, value: LiveValue<'a>) -> LiveValue<'a> {
        Value::Enum { name: name.to_owned(), value: Box::new(value) }
    }

    #[test]
    fn keys_of_every_kind_are_one_line() {
        check(Value::None, "None");
        check(Value::Bool(true), "True");
        check(Value::Int(Int::Big("1".repeat(30))), &"1".repeat(30));
        check(Value::dtype(DType::Float16), "torch.float16");
        check(member("Mode.FAST", Value::text("fast")), "<Mode.FAST: 'fast'>");
        check(member("Level.LOW", Value::int(1)), "<Level.LOW: 1>");
        check(Value::tuple(vec![]), "()");
        check(Value::tuple(vec![Value::int(1)]), "(1,)");
        check(
            Value::tuple(vec![Value::int(1), Value::tuple(vec![Value::int(2), Value::text("x")])]),
            "(1, (2, 'x'))",
        );
        let sizes = |class: &str| Value::Tuple {
            class: Some(class.to_owned()),
            items: vec![Value::int(2), Value::int(3)],
        };
        check(sizes("Size"), "torch.Size([2, 3])");
        check(sizes("Point"), "Point(2, 3)");
        check(Value::List(vec![Value::text("a")]), "['a']");
        check(
            Value::Map(vec![(Value::text("k"), Value::Float(1.0)), (Value::int(2), Value::None)]),
            "{'k': 1.0, 2: None}",
        );
        check(Value::Truncated { class: "list".to_owned(), length: 5 }, "<list with 5 items>");
        let view = TensorView::new(DType::UInt8, Layout::contiguous(&[1]).unwrap(), &[7]).unwrap();
        check(Value::Tensor(view), "Tensor(shape=(1,), dtype=torch.uint8, device=cpu)");
    }

    #[test]
    fn what_is_nested_deeper_than_anybody_reads_is_an_ellipsis() {
        let mut value = Value::List(Vec::new());
        for _ in 0..100_000 {
            value = Value::List(vec![value]);
        }
        // Dropping it takes a stack as deep as it is.
        let value = ManuallyDrop::new(value);
        let mut out = String::new();
        push_repr(&mut out, &value);
        assert_eq!(out, format!("{}...{}", "[".repeat(64), "]".repeat(64)));
    }

    #[test]
    fn of_objects_whose_str_is_no_repr_the_repr_is_shown() {
        check(opaque("device", "cpu"), "device(type='cpu')");
        check(opaque("device", "cuda:1"), "device(type='cuda', index=1)");
        check(opaque("device", "odd:x"), "device(type='odd:x')");
        check(opaque("PosixPath", "/a/it's"), "PosixPath(\"/a/it's\")");
        check(opaque("range", "range(0, 4)"), "range(0, 4)");
        check(opaque("Named", "Named(\n  \u{1b}\n)"), "Named(\n  \\x1b\n)");
    }
}
