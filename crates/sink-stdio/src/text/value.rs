//! Values as the blocks of level 3 and above show them, one item a line.

use callbox_core::{LiveValue, Statistics, Value};

use super::repr::push_repr;
use super::tensor::push_tensor;
use super::{ELLIPSIS, MAX_DEPTH, append, push_text};

/// How the values of a block are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Tensors are shown with their statistics.
    pub(super) statistics: bool,
}

/// Begins a line at a depth of nesting.
pub(super) fn push_indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Appends a value's lines at a depth of nesting, the first one indented too.
///
/// FlashInfer indents an item behind its label once more, which leaves blanks between the two.
pub(super) fn push_value(out: &mut String, value: &LiveValue<'_>, depth: usize, style: Style) {
    push_indent(out, depth);
    match value {
        Value::Tensor(view) => {
            let statistics = style.statistics.then(|| Statistics::of(view));
            return push_tensor(out, view, depth, statistics.as_ref());
        }
        Value::List(_) | Value::Tuple { .. } | Value::Map(_) if depth >= MAX_DEPTH => out.push_str(ELLIPSIS),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => return push_items(out, ["[", "]"], items, depth, style),
        Value::Tuple { items, .. } if items.is_empty() => out.push_str("()"),
        Value::Tuple { items, .. } => return push_items(out, ["(", ")"], items, depth, style),
        Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Map(entries) => return push_entries(out, entries, depth, style),
        Value::Enum { name, value } => {
            append(out, format_args!("{name} (value="));
            push_str_of(out, value);
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
    out.push('\n');
}

fn push_items(out: &mut String, brackets: [&str; 2], items: &[LiveValue<'_>], depth: usize, style: Style) {
    out.push_str(brackets[0]);
    out.push('\n');
    for (place, item) in items.iter().enumerate() {
        push_indent(out, depth + 1);
        append(out, format_args!("[{place}]: "));
        push_value(out, item, depth + 1, style);
    }
    push_indent(out, depth);
    out.push_str(brackets[1]);
    out.push('\n');
}

fn push_entries(out: &mut String, entries: &[(LiveValue<'_>, LiveValue<'_>)], depth: usize, style: Style) {
    out.push_str("{\n");
    for (key, value) in entries {
        push_indent(out, depth + 1);
        push_repr(out, key);
        out.push_str(": ");
        push_value(out, value, depth + 1, style);
    }
    push_indent(out, depth);
    out.push_str("}\n");
}

/// Appends a value as Python's `str` has it: texts without quotes, all else as `repr`.
fn push_str_of(out: &mut String, value: &LiveValue<'_>) {
    match value {
        Value::Text(text) | Value::Opaque { repr: text, .. } => push_text(out, text),
        Value::Enum { name, .. } => out.push_str(name),
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::DType(_)
        | Value::Tensor(_)
        | Value::List(_)
        | Value::Tuple { .. }
        | Value::Map(_)
        | Value::Truncated { .. } => push_repr(out, value),
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    fn check(value: LiveValue<'_>, expected: &str) {
        let mut out = String::new();
        push_value(&mut out, &value, 2, Style { statistics: false });
        assert_eq!(out, expected);
    }

    #[test]
    fn an_item_is_indented_once_more_behind_its_label() {
        let inner = Value::tuple(vec![Value::int(2), Value::List(vec![Value::int(3)])]);
        check(
            Value::tuple(vec![Value::int(1), inner]),
            "    (\n      [0]:       1\n      [1]:       (\n        [0]:         2\n        \
             [1]:         [\n          [0]:           3\n        ]\n      )\n    )\n",
        );
        let inner = Value::Map(vec![(Value::text("b"), Value::Map(Vec::new()))]);
        let key = Value::tuple(vec![Value::int(1), Value::int(2)]);
        check(
            Value::Map(vec![(Value::text("a"), inner), (key, Value::None)]),
            "    {\n      'a':       {\n        'b':         {}\n      }\n      (1, 2):       None\n    }\n",
        );
    }

    #[test]
    fn empty_containers_are_one_line_and_subclasses_of_tuple_are_tuples() {
        check(Value::List(Vec::new()), "    []\n");
        check(Value::tuple(Vec::new()), "    ()\n");
        check(Value::Map(Vec::new()), "    {}\n");
        let class = Some("Size".to_owned());
        check(Value::Tuple { class, items: vec![Value::int(2)] }, "    (\n      [0]:       2\n    )\n");
    }

    #[test]
    fn what_is_nested_deeper_than_anybody_reads_is_an_ellipsis() {
        let mut value = Value::int(1);
        for place in 0..100_000 {
            value = if place % 2 == 0 {
                Value::tuple(vec![value])
            } else {
                Value::Map(vec![(Value::None, value)])
            };
        }
        // Dropping it takes a stack as deep as it is.
        let value = ManuallyDrop::new(value);
        let mut out = String::new();
        push_value(&mut out, &value, 2, Style { statistics: false });
        assert_eq!(out.matches("None: ").count(), 31);
        assert_eq!(out.matches("...\n").count(), 1);
    }

    #[test]
    fn a_member_shows_its_value_as_str_has_it() {
        let member = |value| Value::Enum { name: "Mode.M".to_owned(), value: Box::new(value) };
        check(member(Value::text("fast")), "    Mode.M (value=fast)\n");
        check(member(Value::int(2)), "    Mode.M (value=2)\n");
        check(member(Value::tuple(vec![Value::int(1), Value::text("a")])), "    Mode.M (value=(1, 'a'))\n");
        let device = Value::Opaque { class: "device".to_owned(), repr: "cpu".into() };
        check(member(device), "    Mode.M (value=cpu)\n");
    }
}
